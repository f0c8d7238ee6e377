package api

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// streamName is how most inputs name a stream: by name, resource name or both.
// StreamID is reserved by AWS: it is checked and ignored.
type streamRef struct {
	StreamName shape.String
	StreamARN  shape.String
	StreamID   shape.String
}

// streamMembers returns the table rows of a streamRef inside S, with those of the
// operation's own members where the model has them: behind the name.
func streamMembers[S any](at func(*S) *streamRef, own ...shape.Member) shape.Struct {
	return slices.Concat(shape.Struct{
		shape.Of("StreamName", func(in *S) *shape.String { return &at(in).StreamName }, nameRules),
	}, own, shape.Struct{
		shape.Of("StreamARN", func(in *S) *shape.String { return &at(in).StreamARN }, streamARNRules),
		shape.Of("StreamId", func(in *S) *shape.String { return &at(in).StreamID }, streamIDRules),
	})
}

// Constraints of the model that more than one operation has.
//
// Source: botocore's service model of Kinesis, 2026-08.
var (
	nameRules      = shape.Length(1, 128).Matching(namePattern)
	streamARNRules = shape.Length(1, 2048).Matching(streamARNPattern)
	streamIDRules  = shape.Length(1, 24).Matching(streamIDPattern)
	sequenceRules  = shape.Rules{Pattern: sequencePattern}
	hashKeyRules   = shape.Rules{Pattern: hashKeyPattern}
	tokenRules     = shape.Length(1, 1<<20)
	pageRules      = shape.Range(1, 10000)

	namePattern      = &shape.Pattern{Text: `[a-zA-Z0-9_.-]+`, Match: isName}
	sequencePattern  = &shape.Pattern{Text: `0|([1-9]\d{0,128})`, Match: func(s string) bool { return isDecimal(s, 129) }}
	hashKeyPattern   = &shape.Pattern{Text: `0|([1-9]\d{0,38})`, Match: func(s string) bool { return isDecimal(s, 39) }}
	streamARNPattern = pattern(`arn:aws.*:kinesis:.*:\d{12}:stream/\S+`)
	streamIDPattern  = pattern(`[a-z0-9]{20}-[a-z0-9]{3}`)
)

// pattern makes a [shape.Pattern] for texts that are seldom matched.
func pattern(text string) *shape.Pattern {
	re := regexp.MustCompile(`^(?:` + text + `)$`)
	return &shape.Pattern{Text: text, Match: re.MatchString}
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return s != ""
}

// isDecimal matches 0 and numbers of up to max digits without leading zero.
func isDecimal(s string, max int) bool {
	if s == "" || len(s) > max || s[0] == '0' && len(s) > 1 {
		return false
	}
	return isDigits(s)
}

// isRegion matches what a region's name can be made of.
func isRegion(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// key returns the key of the stream that ref names. A resource name may name
// another account or region than the request's: it wins.
func (ref *streamRef) key(scope arn.Scope) (state.StreamKey, error) {
	if !ref.StreamARN.Set {
		if !ref.StreamName.Set {
			return state.StreamKey{}, awserr.New("InvalidArgumentException", "Either StreamName or StreamARN must be specified.")
		}
		return state.StreamKey{Scope: scope, Name: ref.StreamName.V}, nil
	}
	key, err := parseStreamARN(ref.StreamARN.V)
	if err != nil {
		return state.StreamKey{}, err
	}
	if ref.StreamName.Set && ref.StreamName.V != key.Name {
		return state.StreamKey{}, awserr.New("InvalidArgumentException", "StreamARN %s and StreamName %s name different streams.", ref.StreamARN.V, ref.StreamName.V)
	}
	return key, nil
}

// parseStreamARN reads arn:aws:kinesis:<region>:<account>:stream/<name>.
func parseStreamARN(s string) (state.StreamKey, error) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) == 6 {
		name, ok := strings.CutPrefix(parts[5], "stream/")
		key := state.StreamKey{Scope: arn.Scope{Account: parts[4], Region: parts[3]}, Name: name}
		if ok && isName(name) && isRegion(key.Region) && len(key.Account) == 12 && isDigits(key.Account) && key.ARN() == s {
			return key, nil
		}
	}
	return state.StreamKey{}, awserr.New("InvalidArgumentException", "StreamARN %s is not the name of a stream.", s)
}

// find returns the stream that ref names, whatever its state.
func (a *API) find(scope arn.Scope, ref *streamRef) (*state.Stream, error) {
	key, err := ref.key(scope)
	if err != nil {
		return nil, err
	}
	s, ok := a.engine.Stream(key)
	if !ok {
		return nil, streamNotFound(key)
	}
	return s, nil
}

// usable reports whether records can be written to and read from s.
func usable(s *state.Stream) bool {
	return s.Status == state.Active || s.Status == state.Updating
}

func streamNotFound(key state.StreamKey) error {
	return awserr.New("ResourceNotFoundException", "Stream %s under account %s not found.", key.Name, key.Account)
}

func shardDoesNotExist(key state.StreamKey, shard int) error {
	return awserr.New("ResourceNotFoundException", "Shard %s in stream %s under account %s does not exist", state.ShardID(shard), key.Name, key.Account)
}

func notActive(s *state.Stream) error {
	return awserr.New("ResourceInUseException", "Stream %s under account %s not ACTIVE, instead in state %s", s.Key.Name, s.Key.Account, s.Status)
}

func invalidArgument(format string, args ...any) error {
	return awserr.New("InvalidArgumentException", format, args...)
}

// resolveShard reads a shard id as AWS does: what stands behind the first
// hyphen, or all of it, is the index.
func resolveShard(key state.StreamKey, id string) (int, error) {
	digits := id
	if _, after, ok := strings.Cut(id, "-"); ok {
		digits = after
	}
	if isDigits(digits) {
		if n, err := strconv.ParseInt(digits, 10, 32); err == nil {
			return int(n), nil
		}
	}
	return 0, awserr.New("ResourceNotFoundException", "Could not find shard %s in stream %s under account %s.", id, key.Name, key.Account)
}
