package explain_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	kinesistypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/cmd/internal/endpoint"
	"github.com/streamkit/streamkit/cmd/streamctl/internal/explain"
)

func TestSentence(t *testing.T) {
	local := endpoint.Where{URL: "http://127.0.0.1:4567", Region: "us-east-1"}
	cloud := endpoint.Where{Region: "eu-west-1"}
	op := func(err error) error {
		return &smithy.OperationError{ServiceID: "Kinesis", OperationName: "PutRecords", Err: err}
	}
	refused := op(&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
	for _, tt := range []struct {
		name  string
		err   error
		about explain.About
		want  string
	}{
		{
			name: "refused on this machine", err: refused, about: explain.About{Where: local},
			want: `nothing listens at http://127.0.0.1:4567: start the server with "streamd", or name another one with --endpoint`,
		},
		{
			name: "refused elsewhere", err: refused, about: explain.About{Where: endpoint.Where{URL: "http://10.0.0.9:4567"}},
			want: `nothing listens at http://10.0.0.9:4567: check the address in --endpoint, AWS_ENDPOINT_URL or the profile`,
		},
		{
			name: "unknown host", err: op(&net.DNSError{Name: "kinesis.mars-1.amazonaws.com"}), about: explain.About{Where: endpoint.Where{Region: "mars-1"}},
			want: `the host of AWS, region mars-1 is unknown (kinesis.mars-1.amazonaws.com): check the region and the address in --endpoint or AWS_ENDPOINT_URL`,
		},
		{
			name: "unknown stream", err: op(&kinesistypes.ResourceNotFoundException{Message: aws.String("Stream x under account 1 not found.")}),
			about: explain.About{Where: local, Stream: "x"},
			want:  `stream "x" does not exist at http://127.0.0.1:4567: see "streamctl stream list", or create it with "streamctl stream create x"`,
		},
		{
			name: "unknown shard", err: op(&kinesistypes.ResourceNotFoundException{Message: aws.String("Could not find shard shardId-000000000009 in stream x under account 1.")}),
			about: explain.About{Where: local, Stream: "x"},
			want:  `Could not find shard shardId-000000000009 in stream x under account 1: see "streamctl stream describe x"`,
		},
		{
			name: "stream exists", err: op(&kinesistypes.ResourceInUseException{Message: aws.String("Stream x under account 1 already exists.")}),
			about: explain.About{Where: local, Stream: "x"},
			want:  `Stream x under account 1 already exists: see its state with "streamctl stream describe x"`,
		},
		{
			name: "unknown table", err: op(&dynamodbtypes.ResourceNotFoundException{Message: aws.String("Requested resource not found")}),
			about: explain.About{Where: local, Table: "app"},
			want:  `table "app" does not exist at http://127.0.0.1:4567: the lease table has the name of the consumer's application; start the consumer, or check the name`,
		},
		{
			name: "another server", err: op(&smithy.DeserializationError{Err: errors.New("invalid character '<'")}), about: explain.About{Where: local},
			want: "http://127.0.0.1:4567 answers, but not as Kinesis does: check that the address is that of the API",
		},
		{
			name: "other refusal", err: op(&smithy.GenericAPIError{Code: "AccessDeniedException", Message: "no"}), about: explain.About{Where: cloud},
			want: `AWS, region eu-west-1 answers AccessDeniedException: no`,
		},
		{
			name: "no credentials", err: op(errors.New("get identity: get credentials: failed to refresh cached credentials")), about: explain.About{Where: cloud},
			want: `no usable credentials for AWS, region eu-west-1: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile with --profile, or use a local server with --endpoint http://127.0.0.1:4567`,
		},
		{
			name: "no file", err: &fs.PathError{Op: "open", Path: "/tmp/none", Err: syscall.ENOENT},
			want: `file "/tmp/none" does not exist: check the path`,
		},
		{
			name: "forbidden file", err: &fs.PathError{Op: "open", Path: "/tmp/none", Err: syscall.EACCES},
			want: `file "/tmp/none" may not be read by this user: check its permissions`,
		},
		{name: "interrupted", err: op(context.Canceled), want: "interrupted"},
		{
			name: "late", err: op(context.DeadlineExceeded), about: explain.About{Where: local},
			want: "http://127.0.0.1:4567 did not answer in time: check that it is reachable, then try again",
		},
		{name: "another error, in one line", err: fmt.Errorf("first\n\tsecond"), want: "first second"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := explain.Sentence(tt.err, tt.about)
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if strings.Contains(got, "\n") {
				t.Error("more than one line")
			}
		})
	}
}
