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
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// maxAnswer bounds what is read of an answer: GetRecords gives 10 MiB of data,
// and its keys.
const maxAnswer = 64 << 20

// Signed sends requests to where a client leads, with its credentials.
type Signed struct {
	opts     kinesis.Options
	endpoint string
	signer   *v4.Signer
}

// NewSigned returns a Sender that speaks to the service of a client.
func NewSigned(ctx context.Context, client *kinesis.Client) (*Signed, error) {
	s := &Signed{opts: client.Options(), signer: v4.NewSigner()}
	if s.endpoint = aws.ToString(s.opts.BaseEndpoint); s.endpoint == "" {
		found, err := s.opts.EndpointResolverV2.ResolveEndpoint(ctx, kinesis.EndpointParameters{Region: aws.String(s.opts.Region)})
		if err != nil {
			return nil, fmt.Errorf("find the endpoint of region %s: %w", s.opts.Region, err)
		}
		s.endpoint = found.URI.String()
	}
	return s, nil
}

// Send implements [Sender].
func (s *Signed) Send(ctx context.Context, target, contentType string, body []byte) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("X-Amz-Target", target)
	req.Header.Set("Content-Type", contentType)
	creds, err := s.opts.Credentials.Retrieve(ctx)
	if err != nil {
		return Answer{}, err
	}
	hash := sha256.Sum256(body)
	if err := s.signer.SignHTTP(ctx, creds, req, hex.EncodeToString(hash[:]), "kinesis", s.opts.Region, time.Now()); err != nil {
		return Answer{}, err
	}
	resp, err := s.opts.HTTPClient.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return Answer{resp.StatusCode, resp.Header.Get("Content-Type"), answer}, err
}
