package gen

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	typeJSON   = "application/x-amz-json-1.1"
	typeCBOR   = "application/x-amz-cbor-1.1"
	typeDynamo = "application/x-amz-json-1.0"

	kinesisTarget = "Kinesis_20131202."
	dynamoTarget  = "DynamoDB_20120810."
)

// A conn is one connection over which prepared requests are sent, one at a
// time. It reads no more of an answer than its length and status.
type conn struct {
	net  net.Conn
	host string
	buf  []byte // the last answer, and room for the next one
}

// dial opens a connection that closes when ctx ends.
func dial(ctx context.Context, endpoint string) (*conn, error) {
	host := strings.TrimSuffix(strings.TrimPrefix(endpoint, "http://"), "/")
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = c.Close() }) // ends a read under way
	return &conn{net: c, host: host, buf: make([]byte, 64<<10)}, nil
}

func (c *conn) close() { _ = c.net.Close() }

// The signature has the right form and is not a true one.
const (
	requestDate   = "20260101T000000Z"
	authorization = "AWS4-HMAC-SHA256 Credential=load/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, " +
		"Signature=0000000000000000000000000000000000000000000000000000000000000000"
)

// request makes the bytes of a request.
func (c *conn) request(contentType, target string, body []byte) []byte {
	return c.appendRequest(nil, contentType, target, body)
}

func (c *conn) appendRequest(b []byte, contentType, target string, body []byte) []byte {
	return append(c.appendHead(b, contentType, target, len(body)), body...)
}

// appendHead appends what stands before a body of so many bytes.
func (c *conn) appendHead(b []byte, contentType, target string, size int) []byte {
	return fmt.Appendf(b, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nX-Amz-Target: %s\r\nX-Amz-Date: %s\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n",
		c.host, contentType, target, requestDate, authorization, size)
}

// do sends a request and returns the body of the answer, which is valid until
// the next call.
func (c *conn) do(request []byte) ([]byte, error) {
	if _, err := c.net.Write(request); err != nil {
		return nil, err
	}
	n, head := 0, -1
	for head < 0 {
		if n == len(c.buf) {
			return nil, fmt.Errorf("answer with headers of more than %d bytes", n)
		}
		m, err := c.net.Read(c.buf[n:])
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		n += m
		head = bytes.Index(c.buf[:n], []byte("\r\n\r\n"))
	}
	size, err := contentLength(c.buf[:head])
	if err != nil {
		return nil, err
	}
	status := string(c.buf[len("HTTP/1.1 "):][:3])
	total := head + len("\r\n\r\n") + size
	if total > len(c.buf) {
		c.buf = append(make([]byte, 0, total), c.buf[:n]...)[:total]
	}
	if n < total {
		if _, err := io.ReadFull(c.net, c.buf[n:total]); err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
	}
	body := c.buf[total-size : total]
	if status != strconv.Itoa(http.StatusOK) {
		if bytes.Contains(body, []byte("UnknownOperationException")) {
			return nil, ErrNotServed
		}
		return nil, fmt.Errorf("answer %s: %.300s", status, body)
	}
	return body, nil
}

// contentLength reads the length out of the head of an answer.
func contentLength(head []byte) (int, error) {
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		if len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")) {
			return strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	return 0, fmt.Errorf("answer without a Content-Length")
}
