package transform

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/agent/internal/jsontext"
)

// DefaultMetadataEndpoint is where an EC2 instance asks about itself.
const DefaultMetadataEndpoint = "http://169.254.169.254"

const (
	metadataTimeout = 2 * time.Second
	metadataRetry   = time.Minute // after a failure with nothing known
	maxMetadata     = 1 << 20
)

// AddEC2Metadata adds what the instance's metadata service says to JSON objects:
// privateIp, availabilityZone, instanceId, instanceType, accountId, amiId, region,
// metadataTimestamp and tags, whose keys are in lower case. Members of these names
// are overwritten. While nothing is known, records pass unchanged.
//
// The tags come from the metadata service, where the official agent asks the EC2
// API and needs a permission for it; the instance must allow tags in its metadata.
type AddEC2Metadata struct {
	TTL      time.Duration // how long what is known is used; default an hour
	Endpoint string        // of the metadata service; default DefaultMetadataEndpoint
	Pretty   bool

	known atomic.Pointer[[]member]
}

// Name implements [Option].
func (*AddEC2Metadata) Name() string { return "ADDEC2METADATA" }

// Append implements [Option].
func (o *AddEC2Metadata) Append(dst, rec []byte, from *Record) ([]byte, Result) {
	known := o.known.Load()
	if known == nil {
		return append(dst, rec...), Converted
	}
	return merge(dst, rec, *known, o.Pretty, from)
}

// Prepare asks for the metadata once, for two seconds at the longest, so that the
// first records have it.
func (o *AddEC2Metadata) Prepare(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	o.refresh(ctx, log)
}

// Run keeps the metadata fresh until ctx ends.
func (o *AddEC2Metadata) Run(ctx context.Context, log *slog.Logger) {
	ttl := cmp.Or(o.TTL, time.Hour)
	for {
		wait := ttl
		if o.known.Load() == nil {
			wait = min(ttl, metadataRetry)
		}
		select {
		case <-time.After(wait):
			o.Prepare(ctx, log)
		case <-ctx.Done():
			return
		}
	}
}

func (o *AddEC2Metadata) refresh(ctx context.Context, log *slog.Logger) {
	members, err := o.fetch(ctx)
	if err != nil && ctx.Err() == nil || errors.Is(err, context.DeadlineExceeded) {
		log.Warn("no metadata of the EC2 instance; records go on with what is known", slog.Any("err", err))
	}
	if members != nil {
		o.known.Store(&members)
	}
}

// fetch asks the metadata service, version 2. It returns what it has with an error
// if only the tags are missing.
//
// Source: Amazon EC2 User Guide, Instance metadata: the session token, the
// identity document and tags/instance.
func (o *AddEC2Metadata) fetch(ctx context.Context) ([]member, error) {
	m := metadataClient{endpoint: strings.TrimSuffix(cmp.Or(o.Endpoint, DefaultMetadataEndpoint), "/")}
	token, err := m.do(ctx, http.MethodPut, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	if err != nil {
		return nil, err
	}
	m.token = string(token)
	text, err := m.get(ctx, "/latest/dynamic/instance-identity/document")
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("instance identity document: %w", err)
	}
	var members []member
	for _, f := range []struct{ name, key string }{
		{"privateIp", "privateIp"},
		{"availabilityZone", "availabilityZone"},
		{"instanceId", "instanceId"},
		{"instanceType", "instanceType"},
		{"accountId", "accountId"},
		{"amiId", "imageId"},
		{"region", "region"},
	} {
		value := []byte("null")
		if s, ok := doc[f.key].(string); ok {
			value = jsontext.AppendString(nil, []byte(s))
		}
		members = append(members, member{f.name, value})
	}
	stamp := time.Now().Format("2006-01-02T15:04:05-0700")
	members = append(members, member{"metadataTimestamp", jsontext.AppendString(nil, []byte(stamp))})
	tags, err := m.tags(ctx)
	if err != nil {
		return members, fmt.Errorf("tags; allow tags in instance metadata: %w", err)
	}
	return append(members, member{"tags", tags}), nil
}

type metadataClient struct{ endpoint, token string }

func (m *metadataClient) get(ctx context.Context, path string) ([]byte, error) {
	return m.do(ctx, http.MethodGet, path, "X-aws-ec2-metadata-token", m.token)
}

func (m *metadataClient) do(ctx context.Context, method, path, header, value string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, m.endpoint+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(header, value)
	// Not the default client, whose proxy would answer for the proxy's instance.
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // all of it was read, or an error is returned
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxMetadata))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: status %d", method, path, resp.StatusCode)
	}
	return text, nil
}

// tags returns the tags as an object.
func (m *metadataClient) tags(ctx context.Context) ([]byte, error) {
	list, err := m.get(ctx, "/latest/meta-data/tags/instance/")
	if err != nil {
		return nil, err
	}
	e := jsontext.Encoder{}
	for name := range strings.Lines(string(list)) {
		if name = strings.TrimSuffix(name, "\n"); name == "" {
			continue
		}
		// A name is a path segment as the service gives it.
		value, err := m.get(ctx, "/latest/meta-data/tags/instance/"+strings.ReplaceAll(name, " ", "%20"))
		if err != nil {
			return nil, err
		}
		e.Text([]byte(strings.ToLower(name)), nonNil(value))
	}
	return chomp(e.End()), nil
}
