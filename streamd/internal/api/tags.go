package api

import (
	"context"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// Constraints of the model on tags.
//
// Source: botocore's service model of Kinesis, 2026-08.
var (
	tagKeyRules      = shape.Length(1, 128)
	tagMapRules      = shape.Length(1, 200).Mapping(tagKeyRules, shape.Length(0, 256))
	tagKeysRules     = shape.Length(1, 50).EachOf(tagKeyRules)
	resourceARNRules = shape.Length(1, 2048).Matching(pattern(`arn:aws.*:kinesis:.*:\d{12}:.*stream/\S+`))
)

// checkTags refuses tags with characters that a tag cannot have. A colon is
// allowed in every operation: the tools that tag streams put it into keys.
//
// Source of the wording: errors recorded from AWS, which knows two sets of
// characters, checked one after the other.
func checkTags(key state.StreamKey, tags map[string]string) error {
	percent := false
	for k, v := range tags {
		for _, s := range [2]string{k, v} {
			if strings.ContainsFunc(s, func(r rune) bool { return !isTagRune(r) }) {
				return invalidArgument("Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - %% @.")
			}
			percent = percent || strings.Contains(s, "%")
		}
	}
	if percent {
		return invalidArgument("Failed to add tags to stream %s under account %s because some tags contained illegal characters. The allowed characters are Unicode letters, white-spaces, '_',',','/','=','+','-','@'.", key.Name, key.Account)
	}
	return nil
}

func isTagRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsSpace(r) || strings.ContainsRune("_.:/=+-@%", r)
}

type addTagsInput struct {
	streamRef
	Tags shape.Map
}

var addTagsShape = streamMembers(func(in *addTagsInput) *streamRef { return &in.streamRef },
	shape.Of("Tags", func(in *addTagsInput) *shape.Map { return &in.Tags }, tagMapRules.Req()))

func (a *API) addTags(ctx context.Context, scope arn.Scope, in *addTagsInput) (shape.Output, error) {
	key, err := in.key(scope)
	if err != nil {
		return nil, err
	}
	return nil, a.tag(ctx, key, "", in.Tags.V)
}

// tag adds tags to a stream, or to one of its consumers.
func (a *API) tag(ctx context.Context, key state.StreamKey, consumer string, tags map[string]string) error {
	if err := checkTags(key, tags); err != nil {
		return err
	}
	_, err := a.engine.Command(ctx, state.Tag{Key: key, Consumer: consumer, Tags: tags})
	return apiError(err)
}

type removeTagsInput struct {
	streamRef
	TagKeys shape.Strings
}

var removeTagsShape = streamMembers(func(in *removeTagsInput) *streamRef { return &in.streamRef },
	shape.Of("TagKeys", func(in *removeTagsInput) *shape.Strings { return &in.TagKeys }, tagKeysRules.Req()))

func (a *API) removeTags(ctx context.Context, scope arn.Scope, in *removeTagsInput) (shape.Output, error) {
	key, err := in.key(scope)
	if err != nil {
		return nil, err
	}
	_, err = a.engine.Command(ctx, state.Untag{Key: key, TagKeys: in.TagKeys.V})
	return nil, apiError(err)
}

type listTagsInput struct {
	streamRef
	StartKey shape.String
	Limit    shape.Int
}

// tagPage is the most tags of one page, and as many as a page has that names no
// limit.
const tagPage = 50

var listTagsShape = streamMembers(func(in *listTagsInput) *streamRef { return &in.streamRef },
	shape.Of("ExclusiveStartTagKey", func(in *listTagsInput) *shape.String { return &in.StartKey }, tagKeyRules),
	shape.Of("Limit", func(in *listTagsInput) *shape.Int { return &in.Limit }, shape.Range(1, tagPage)))

func (a *API) listTags(_ context.Context, scope arn.Scope, in *listTagsInput) (shape.Output, error) {
	s, err := a.find(scope, &in.streamRef)
	if err != nil {
		return nil, err
	}
	keys := slices.Sorted(maps.Keys(s.Tags))
	from, found := slices.BinarySearch(keys, in.StartKey.V)
	if found {
		from++
	}
	keys = keys[from:]
	limit := int(in.Limit.Or(tagPage))
	return &listTagsOutput{
		tagsOutput: tagsOutput{keys: keys[:min(limit, len(keys))], tags: s.Tags},
		more:       len(keys) > limit,
	}, nil
}

// tagsOutput lists tags in the order of keys.
type tagsOutput struct {
	keys []string
	tags map[string]string
}

func (o *tagsOutput) Size() int { return 64 + 128*len(o.keys) }

func (o *tagsOutput) Encode(e shape.Encoder) {
	e.BeginList("Tags")
	for _, k := range o.keys {
		e.BeginElem()
		e.String("Key", k)
		e.String("Value", o.tags[k])
		e.End()
	}
	e.EndList()
}

type listTagsOutput struct {
	tagsOutput
	more bool
}

func (o *listTagsOutput) Encode(e shape.Encoder) {
	o.tagsOutput.Encode(e)
	e.Bool("HasMoreTags", o.more)
}

// resourceRef names a stream, or one of its consumers, by resource name alone.
type resourceRef struct {
	ResourceARN shape.String
	StreamID    shape.String
}

func resourceMembers[S any](at func(*S) *resourceRef, before ...shape.Member) shape.Struct {
	return append(shape.Struct(before),
		shape.Of("ResourceARN", func(in *S) *shape.String { return &at(in).ResourceARN }, resourceARNRules.Req()),
		shape.Of("StreamId", func(in *S) *shape.String { return &at(in).StreamID }, streamIDRules))
}

type tagResourceInput struct {
	resourceRef
	Tags shape.Map
}

var tagResourceShape = resourceMembers(func(in *tagResourceInput) *resourceRef { return &in.resourceRef },
	shape.Of("Tags", func(in *tagResourceInput) *shape.Map { return &in.Tags }, tagMapRules.Req()))

func (a *API) tagResource(ctx context.Context, _ arn.Scope, in *tagResourceInput) (shape.Output, error) {
	s, consumer, err := a.resource(&in.resourceRef)
	if err != nil {
		return nil, err
	}
	return nil, a.tag(ctx, s.Key, consumer, in.Tags.V)
}

type untagResourceInput struct {
	resourceRef
	TagKeys shape.Strings
}

var untagResourceShape = resourceMembers(func(in *untagResourceInput) *resourceRef { return &in.resourceRef },
	shape.Of("TagKeys", func(in *untagResourceInput) *shape.Strings { return &in.TagKeys }, tagKeysRules.Req()))

func (a *API) untagResource(ctx context.Context, _ arn.Scope, in *untagResourceInput) (shape.Output, error) {
	s, consumer, err := a.resource(&in.resourceRef)
	if err != nil {
		return nil, err
	}
	_, err = a.engine.Command(ctx, state.Untag{Key: s.Key, Consumer: consumer, TagKeys: in.TagKeys.V})
	return nil, apiError(err)
}

type listResourceTagsInput struct{ resourceRef }

var listResourceTagsShape = resourceMembers(func(in *listResourceTagsInput) *resourceRef { return &in.resourceRef })

func (a *API) listResourceTags(_ context.Context, _ arn.Scope, in *listResourceTagsInput) (shape.Output, error) {
	s, consumer, err := a.resource(&in.resourceRef)
	if err != nil {
		return nil, err
	}
	tags := s.Tags
	if consumer != "" {
		c, err := a.consumerByID(s, consumer)
		if err != nil {
			return nil, err
		}
		tags = c.Tags
	}
	return &tagsOutput{keys: slices.Sorted(maps.Keys(tags)), tags: tags}, nil
}
