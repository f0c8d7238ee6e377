package streamd_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// as returns a client that signs with a key, and asks once.
func as(srv *streamdtest.Server, id, secret, token string) *kinesis.Client {
	return srv.Kinesis(func(o *kinesis.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider(id, secret, token)
		o.Retryer = aws.NopRetryer{}
	})
}

func TestVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t, streamdtest.Keys(
			streamd.Key{ID: "ADMIN", Secret: "admins"},
			streamd.Key{ID: "OTHER", Secret: "others", Account: "123456789012", Token: "tok"},
		))
		srv.CreateStream(t, "s", 1) // signs with the first key
		ctx := t.Context()
		list := func(id, secret, token string) error {
			_, err := as(srv, id, secret, token).ListStreams(ctx, &kinesis.ListStreamsInput{})
			return err
		}
		if err := list("ADMIN", "admins", ""); err != nil {
			t.Error(err)
		}
		if err := list("OTHER", "others", "tok"); err != nil {
			t.Error(err)
		}
		const mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
		wantError(t, list("ADMIN", "wrong", ""), "InvalidSignatureException", mismatch)
		wantError(t, list("NOBODY", "x", ""), "UnrecognizedClientException", "The security token included in the request is invalid.")
		wantError(t, list("OTHER", "others", ""), "UnrecognizedClientException", "The security token included in the request is invalid.")

		// The account is the key's, and another's streams are not seen.
		other := as(srv, "OTHER", "others", "tok")
		_, err := other.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("s")})
		wantError(t, err, "ResourceNotFoundException", "Stream s under account 123456789012 not found.")
		arn := "arn:aws:kinesis:us-east-1:000000000000:stream/s"
		_, err = other.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: &arn})
		wantError(t, err, "AccessDeniedException", "User: arn:aws:iam::123456789012:user/OTHER is not authorized to perform: kinesis:DescribeStreamSummary on resource: "+arn+" because no resource-based policy allows the kinesis:DescribeStreamSummary action")

		_, err = srv.DynamoDB(func(o *dynamodb.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider("ADMIN", "wrong", "")
		}).ListTables(ctx, &dynamodb.ListTablesInput{})
		wantError(t, err, "InvalidSignatureException", mismatch)
		if _, err := srv.DynamoDB().ListTables(ctx, &dynamodb.ListTablesInput{}); err != nil {
			t.Error(err)
		}

		// A clock that is wrong by more than 15 minutes.
		srv.Advance(15*time.Minute + time.Second)
		client := as(srv, "ADMIN", "admins", "")
		_, err = client.ListStreams(ctx, &kinesis.ListStreamsInput{})
		wantError(t, err, "InvalidSignatureException", "Signature expired: …")
		// The SDK corrects its clock by the Date of that answer.
		client = as(srv, "ADMIN", "admins", "")
		if _, err := client.ListStreams(ctx, &kinesis.ListStreamsInput{}, func(o *kinesis.Options) { o.Retryer = retry.NewStandard() }); err != nil {
			t.Error(err)
		}
	})
}

// TestKeyEnds has a key expire by the server's clock.
func TestKeyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t, streamdtest.Keys(
			streamd.Key{ID: "SHORT", Secret: "s", Expires: time.Now().Add(time.Minute)},
			streamd.Key{ID: "SESSION", Secret: "t", Token: "tok", Expires: time.Now().Add(time.Minute)},
			streamd.Key{ID: "LONG", Secret: "l"},
		))
		list := func(id, secret, token string) error {
			_, err := as(srv, id, secret, token).ListStreams(t.Context(), &kinesis.ListStreamsInput{})
			return err
		}
		srv.Advance(time.Minute - time.Nanosecond)
		for _, err := range []error{list("SHORT", "s", ""), list("SESSION", "t", "tok"), list("LONG", "l", "")} {
			if err != nil {
				t.Error("before the end:", err)
			}
		}
		srv.Advance(time.Nanosecond)
		const expired = "The security token included in the request is expired"
		wantError(t, list("SHORT", "s", ""), "ExpiredTokenException", expired)
		wantError(t, list("SESSION", "t", "tok"), "ExpiredTokenException", expired)
		wantError(t, list("SESSION", "t", ""), "UnrecognizedClientException", "The security token included in the request is invalid.")
		if err := list("LONG", "l", ""); err != nil {
			t.Error(err)
		}
		_, err := srv.DynamoDB().ListTables(t.Context(), &dynamodb.ListTablesInput{})
		wantError(t, err, "ExpiredTokenException", expired)
	})
}

// TestSetKeys replaces keys under clients that use them.
func TestSetKeys(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Keys(
		streamd.Key{ID: "A", Secret: "a"}, streamd.Key{ID: "B", Secret: "b"}, streamd.Key{ID: "C", Secret: "c"}))
	srv.CreateStream(t, "s", 1)
	describe := func(id, secret string) error {
		_, err := as(srv, id, secret, "").DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("s")})
		return err
	}
	for _, id := range []string{"A", "B", "C"} {
		if err := describe(id, strings.ToLower(id)); err != nil {
			t.Error(id, err)
		}
	}
	srv.SetKeys(t,
		streamd.Key{ID: "A", Secret: "new"},
		streamd.Key{ID: "C", Secret: "c", Allow: []streamd.Rule{{Operations: []string{"kinesis:Put*"}}}},
		streamd.Key{ID: "D", Secret: "d"})
	const mismatch = "The request signature we calculated does not match…"
	wantError(t, describe("A", "a"), "InvalidSignatureException", mismatch)
	wantError(t, describe("B", "b"), "UnrecognizedClientException", "The security token included in the request is invalid.")
	wantError(t, describe("C", "c"), "AccessDeniedException", "User: …")
	for id, secret := range map[string]string{"A": "new", "D": "d"} {
		if err := describe(id, secret); err != nil {
			t.Error(id, err)
		}
	}
}

func TestSetKeysRefuses(t *testing.T) {
	verifying := streamd.Config{Auth: "verify", Keys: []streamd.Key{{ID: "A", Secret: "a"}}}
	for _, tt := range []struct {
		name string
		cfg  streamd.Config
		keys []streamd.Key
		want string
	}{
		{"none", verifying, nil, "auth verify needs keys"},
		{"without secret", verifying, []streamd.Key{{ID: "B"}}, "key B has no secret"},
		{"without verify", streamd.Config{}, []streamd.Key{{ID: "B", Secret: "b"}}, "--auth=verify"},
	} {
		tt.cfg.Listen, tt.cfg.Admin, tt.cfg.TLS = "127.0.0.1:0", streamd.AdminOff, streamd.TLSOff
		srv, err := streamd.New(tt.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.SetKeys(tt.keys); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestVerifyAsksForASignature(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Keys(streamd.Key{ID: "ADMIN", Secret: "admins"}))
	golden(t, srv, "verify.golden", []request{
		{name: "not signed", target: "ListStreams", body: "{}"},
		{name: "not signed, and no such operation", target: "Nope", body: "{}"},
		{name: "not signed, and no JSON", target: "ListStreams", body: "{"},
		{name: "not signed, CBOR", target: "ListStreams", ctype: "application/x-amz-cbor-1.1", body: "\xa0"},
		{name: "well-formed, for another service", target: "ListStreams", header: [][2]string{
			{"Authorization", "AWS4-HMAC-SHA256 Credential=ADMIN/20261123/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=00"}, {"X-Amz-Date", "20261123T120000Z"},
		}, body: "{}"},
		{name: "not covering the operation", target: "ListStreams", header: [][2]string{{"Authorization", signedWell}, {"X-Amz-Date", "20261123T120000Z"}}, body: "{}"},
		{name: "DynamoDB", target: "DynamoDB_20120810.ListTables", ctype: "application/x-amz-json-1.0", body: "{}"},
	})
}

func TestAllowRules(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Keys(
		streamd.Key{ID: "ADMIN", Secret: "admins"},
		streamd.Key{ID: "WRITER", Secret: "w", Allow: []streamd.Rule{
			{Operations: []string{"kinesis:Put*", "kinesis:ListShards"}, Resources: []string{"orders", "clicks-?"}},
			{Operations: []string{"dynamodb:*Item"}, Resources: []string{"leases"}},
		}},
		streamd.Key{ID: "READER", Secret: "r", Allow: []streamd.Rule{
			{Operations: []string{"kinesis:Get*"}, Resources: []string{"arn:aws:kinesis:*:*:stream/orders"}},
			{Operations: []string{"kinesis:ListStreams"}, Resources: []string{"*"}},
		}},
		streamd.Key{ID: "ALL", Secret: "a", Account: "123456789012", Allow: []streamd.Rule{{Operations: []string{"kinesis:*"}}}},
	))
	for _, name := range []string{"orders", "clicks-1", "clicks-12", "secret"} {
		srv.CreateStream(t, name, 1)
	}
	ctx := t.Context()
	admin, writer, reader, all := srv.Kinesis(), as(srv, "WRITER", "w", ""), as(srv, "READER", "r", ""), as(srv, "ALL", "a", "")
	put := func(c *kinesis.Client, stream string) error {
		_, err := c.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: aws.String("k"), Data: []byte("d")})
		return err
	}
	iterator := func(c *kinesis.Client, stream string) (*string, error) {
		out, err := c.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: aws.String("0"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if err != nil {
			return nil, err
		}
		return out.ShardIterator, nil
	}
	get := func(c *kinesis.Client, it *string) error {
		_, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it})
		return err
	}
	adminsSecret, err := iterator(admin, "secret")
	if err != nil {
		t.Fatal(err)
	}
	readersOrders, err := iterator(reader, "orders")
	if err != nil {
		t.Fatal(err)
	}
	_, errReadSecret := iterator(reader, "secret")
	_, errList := reader.ListStreams(ctx, &kinesis.ListStreamsInput{})
	_, errWriterList := writer.ListStreams(ctx, &kinesis.ListStreamsInput{})
	_, errDelete := writer.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String("orders")})
	page, err := admin.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String("orders")})
	if err != nil || page.NextToken != nil {
		t.Fatal(page, err)
	}
	item := func(table string) error {
		_, err := srv.DynamoDB(func(o *dynamodb.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider("WRITER", "w", "")
		}).GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: map[string]dbtypes.AttributeValue{"k": &dbtypes.AttributeValueMemberS{Value: "v"}}})
		return err
	}
	items := func(tables ...string) error {
		in := &dynamodb.BatchWriteItemInput{RequestItems: map[string][]dbtypes.WriteRequest{}}
		for _, table := range tables {
			in.RequestItems[table] = []dbtypes.WriteRequest{{PutRequest: &dbtypes.PutRequest{
				Item: map[string]dbtypes.AttributeValue{"k": &dbtypes.AttributeValueMemberS{Value: "v"}},
			}}}
		}
		_, err := srv.DynamoDB(func(o *dynamodb.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider("WRITER", "w", "")
		}).BatchWriteItem(ctx, in)
		return err
	}
	for _, tt := range []struct {
		what   string
		err    error
		denied bool
	}{
		{"write to what the rule names", put(writer, "orders"), false},
		{"write to what a pattern names", put(writer, "clicks-1"), false},
		{"write to what the pattern does not name", put(writer, "clicks-12"), true},
		{"write to another", put(writer, "secret"), true},
		{"delete", errDelete, true},
		{"list without a rule for it", errWriterList, true},
		{"list", errList, false},
		{"write as a reader", put(reader, "orders"), true},
		{"read", get(reader, readersOrders), false},
		{"an iterator of another stream", errReadSecret, true},
		{"read by somebody else's iterator", get(reader, adminsSecret), true},
		{"read by an iterator of another account", get(all, adminsSecret), true},
		{"everything in another account", func() error { _, err := all.ListStreams(ctx, &kinesis.ListStreamsInput{}); return err }(), false},
		{"an item of another table", item("tokens"), true},
		{"items of another table beside its own", items("leases", "tokens"), true},
	} {
		denied := tt.err != nil && strings.Contains(tt.err.Error(), "AccessDeniedException")
		if denied != tt.denied || tt.err != nil && !denied {
			t.Errorf("%s: %v", tt.what, tt.err)
		}
	}
	// What is wrong with an iterator is said to whoever may read something: a
	// reader must learn that it has expired.
	wantError(t, get(reader, aws.String("x")), "InvalidArgumentException", "Invalid ShardIterator.")
	for _, err := range []error{item("leases"), items("leases")} {
		if err == nil || strings.Contains(err.Error(), "AccessDenied") {
			t.Errorf("an item of a table that is allowed: %v, want that there is no such table", err)
		}
	}
}

func TestKeySettings(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  streamd.Config
		want []string
	}{
		{"none", streamd.Config{Auth: "verify"}, []string{"auth verify needs keys", "--auth-keys"}},
		{"without verify", streamd.Config{Keys: []streamd.Key{{ID: "a", Secret: "b"}}}, []string{"--auth=verify"}},
		{"bad ones", streamd.Config{Auth: "verify", Keys: []streamd.Key{
			{}, {ID: "a/b", Secret: "x"}, {ID: "c", Secret: "d", Account: "12"}, {ID: "c", Secret: "d", Allow: []streamd.Rule{{Operations: []string{"Put*"}}}},
		}}, []string{"key 1 has no id", "key 1 has no secret", "id of key 2", `account "12" of key c is not twelve digits`, "key c is there twice", `operation "Put*" of key c has no service; write kinesis:Put* or dynamodb:Put*`}},
		{"numbers", streamd.Config{MaxClockSkew: -1, MaxConnections: -1, AnswerMemory: 1}, []string{"clock skew", "connections", "answer memory of 1 bytes"}},
		{"other machines", streamd.Config{Listen: "0.0.0.0:0"}, []string{"--auth=verify", "--insecure"}},
		{"other machines, admin", streamd.Config{Listen: "127.0.0.1:0", Admin: "0.0.0.0:0", Auth: "verify", Keys: []streamd.Key{{ID: "a", Secret: "b"}}}, []string{"admin address 0.0.0.0:0", "not signed"}},
	} {
		srv, err := streamd.New(tt.cfg)
		if err == nil {
			_ = srv.Close()
			t.Errorf("%s: no error", tt.name)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q lacks %q", tt.name, err, want)
			}
		}
	}
	// With keys a server may be reached from elsewhere.
	srv, err := streamd.New(streamd.Config{Listen: "0.0.0.0:0", Admin: streamd.AdminOff, TLS: streamd.TLSOff, Auth: "verify", Keys: []streamd.Key{{ID: "a", Secret: "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
}

func TestMaxConnections(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen(), streamdtest.Config(func(c *streamd.Config) { c.MaxConnections = 2 }))
	addr := strings.TrimPrefix(srv.Endpoint(), "http://")
	ask := func(c net.Conn) error {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body) // of an error
		return resp.Body.Close()
	}
	dial := func() net.Conn {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	first, second := dial(), dial()
	for _, c := range []net.Conn{first, second} {
		if err := ask(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := ask(dial()); err == nil {
		t.Error("a third connection was served")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for { // until the server has seen the end of the first
		if err := ask(dial()); err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal("no room after a connection has ended")
		}
	}
}

// TestSlowReader has a client that asks for much and reads nothing: its
// connection is cut, so that it does not hold the answer for ever.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		for range 12 {
			r.put(0, strings.Repeat("x", 1<<20-10))
		}
		it := r.iterator(0, types.ShardIteratorTypeTrimHorizon)
		body := fmt.Sprintf(`{"ShardIterator":"%s"}`, it)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Endpoint(), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Target", "Kinesis_20131202.GetRecords")
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		resp, err := r.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // of the bubble
		n, err := io.Copy(io.Discard, resp.Body)
		if err == nil {
			t.Errorf("%d bytes came after an hour, want a connection that was cut", n)
		}
		_ = resp.Body.Close()
	})
}

// TestStalledBodies has clients that announce large bodies and send nothing:
// they take no room from others.
func TestStalledBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		for range 200 {
			body, end := io.Pipe()
			t.Cleanup(func() { _ = end.Close() })
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Endpoint(), body)
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = 16 << 20
			req.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecords")
			req.Header.Set("Content-Type", "application/x-amz-json-1.1")
			go func() {
				if resp, err := r.HTTPClient().Do(req); err == nil {
					_ = resp.Body.Close()
				}
			}()
		}
		synctest.Wait()
		r.put(0, strings.Repeat("x", 1<<20-10))
	})
}
