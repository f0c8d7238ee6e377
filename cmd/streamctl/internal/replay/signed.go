package replay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/internal/capture"
)

// maxAnswer bounds what is read of an answer: GetRecords gives 10 MiB of data,
// and its keys.
const maxAnswer = 64 << 20

// Signed sends requests to where two clients lead, with their credentials.
type Signed struct {
	signer   *v4.Signer
	services map[string]service
}

// service is where a service is, and what its client needs.
type service struct {
	endpoint string
	region   string
	creds    aws.CredentialsProvider
	http     kinesis.HTTPClient
}

// NewSigned returns a Sender that speaks to the services of two clients.
func NewSigned(ctx context.Context, k *kinesis.Client, d *dynamodb.Client) (*Signed, error) {
	ko, do := k.Options(), d.Options()
	streams := service{aws.ToString(ko.BaseEndpoint), ko.Region, ko.Credentials, ko.HTTPClient}
	tables := service{aws.ToString(do.BaseEndpoint), do.Region, do.Credentials, do.HTTPClient}
	if streams.endpoint == "" {
		found, err := ko.EndpointResolverV2.ResolveEndpoint(ctx, kinesis.EndpointParameters{Region: &streams.region})
		if err != nil {
			return nil, fmt.Errorf("find the endpoint of Kinesis in region %s: %w", streams.region, err)
		}
		streams.endpoint = found.URI.String()
	}
	if tables.endpoint == "" {
		found, err := do.EndpointResolverV2.ResolveEndpoint(ctx, dynamodb.EndpointParameters{Region: &tables.region})
		if err != nil {
			return nil, fmt.Errorf("find the endpoint of DynamoDB in region %s: %w", tables.region, err)
		}
		tables.endpoint = found.URI.String()
	}
	return &Signed{v4.NewSigner(), map[string]service{"kinesis": streams, "dynamodb": tables}}, nil
}

// Send implements [Sender].
func (s *Signed) Send(ctx context.Context, l capture.Line, body []byte) (Answer, error) {
	to := s.services[l.Service()]
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.endpoint, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("X-Amz-Target", l.Target)
	req.Header.Set("Content-Type", l.ContentType)
	creds, err := to.creds.Retrieve(ctx)
	if err != nil {
		return Answer{}, err
	}
	hash := sha256.Sum256(body)
	if err := s.signer.SignHTTP(ctx, creds, req, hex.EncodeToString(hash[:]), l.Service(), to.region, time.Now()); err != nil {
		return Answer{}, err
	}
	resp, err := to.http.Do(req)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Status: resp.StatusCode, ContentType: resp.Header.Get("Content-Type")}
	if answer.ContentType == capture.TypeEvents {
		answer.Events = resp.Body
		return answer, nil
	}
	defer resp.Body.Close()
	answer.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return answer, err
}
