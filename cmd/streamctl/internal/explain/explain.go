// Package explain turns errors into one sentence for the person at the
// terminal, which ends with what to do next.
package explain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/config"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	kinesistypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/cmd/internal/endpoint"
)

// About says what the failed command was doing. Empty fields are unknown.
type About struct {
	Where  endpoint.Where
	Stream string
	Table  string
}

// Sentence returns what went wrong and what to do next, in one line.
func Sentence(err error, a About) string {
	return strings.Join(strings.Fields(sentence(err, a)), " ")
}

func sentence(err error, a About) string {
	var (
		noStream  *kinesistypes.ResourceNotFoundException
		inUse     *kinesistypes.ResourceInUseException
		limit     *kinesistypes.LimitExceededException
		noTable   *dynamodbtypes.ResourceNotFoundException
		noProfile config.SharedConfigProfileNotExistError
		dns       *net.DNSError
		path      *fs.PathError
		api       smithy.APIError
		decode    *smithy.DeserializationError
	)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		if a.Where.Loopback() {
			return fmt.Sprintf("nothing listens at %s: start the server with \"streamd\", or name another one with --endpoint", a.Where)
		}
		return fmt.Sprintf("nothing listens at %s: check the address in --endpoint, AWS_ENDPOINT_URL or the profile", a.Where)
	case errors.As(err, &dns):
		return fmt.Sprintf("the host of %s is unknown (%s): check the region and the address in --endpoint or AWS_ENDPOINT_URL", a.Where, dns.Name)
	case errors.As(err, &noStream):
		if a.Stream == "" {
			return fmt.Sprintf("%s at %s: see \"streamctl stream list\"", noStream.ErrorMessage(), a.Where)
		}
		// The same error names a missing shard.
		if msg := noStream.ErrorMessage(); strings.Contains(strings.ToLower(msg), "could not find shard") || strings.Contains(msg, "shardId-") {
			return fmt.Sprintf("%s: see \"streamctl stream describe %s\"", strings.TrimSuffix(msg, "."), a.Stream)
		}
		return fmt.Sprintf("stream %q does not exist at %s: see \"streamctl stream list\", or create it with \"streamctl stream create %s\"", a.Stream, a.Where, a.Stream)
	case errors.As(err, &inUse):
		return fmt.Sprintf("%s: see its state with \"streamctl stream describe %s\"", strings.TrimSuffix(inUse.ErrorMessage(), "."), a.Stream)
	case errors.As(err, &limit):
		return fmt.Sprintf("%s refuses for now: %s: try again in a minute, or ask for less", a.Where, strings.TrimSuffix(limit.ErrorMessage(), "."))
	case errors.As(err, &noTable):
		return fmt.Sprintf("table %q does not exist at %s: the lease table has the name of the consumer's application; start the consumer, or check the name", a.Table, a.Where)
	case errors.As(err, &noProfile):
		return fmt.Sprintf("profile %q is in no config file: check --profile, AWS_PROFILE and ~/.aws/config", noProfile.Profile)
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.As(err, &path):
		return sentenceOfPath(path)
	case errors.As(err, &decode):
		return fmt.Sprintf("%s answers, but not as Kinesis does: check that the address is that of the API", a.Where)
	case errors.As(err, &api):
		return fmt.Sprintf("%s answers %s: %s", a.Where, api.ErrorCode(), api.ErrorMessage())
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("%s did not answer in time: check that it is reachable, then try again", a.Where)
	case strings.Contains(err.Error(), "get credentials:"): // the SDK has no type for it
		return fmt.Sprintf("no usable credentials for %s: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile with --profile, or use a local server with --endpoint %s", a.Where, endpoint.Local)
	}
	return err.Error()
}

func sentenceOfPath(e *fs.PathError) string {
	switch {
	case errors.Is(e, fs.ErrNotExist):
		return fmt.Sprintf("file %q does not exist: check the path", e.Path)
	case errors.Is(e, fs.ErrPermission):
		return fmt.Sprintf("file %q may not be read by this user: check its permissions", e.Path)
	}
	return fmt.Sprintf("file %q: %v: check the path", e.Path, e.Err)
}
