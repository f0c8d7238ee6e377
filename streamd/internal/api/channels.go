package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// Bounds and default of a channel's freshness in seconds, which the model does
// not have.
//
// Source: the API's documentation in the AWS SDK for Ruby.
const (
	minFreshness = 300
	maxFreshness = 900
)

// channelPage is the default and the most of ListChannels' pages.
const channelPage = 100

// channelRules are what the model says of a new channel in words alone.
var channelRules = []struct {
	broken  func(*createChannelInput) bool
	message string
}{
	{func(in *createChannelInput) bool { return len(in.Streams.Items) != 1 }, "StreamConfigurationList must have exactly one stream."},
	{func(in *createChannelInput) bool { return in.Bucket.Set == in.Tables.Set }, "Exactly one of S3DestinationConfiguration and S3TablesDestinationConfiguration must be specified."},
	{func(in *createChannelInput) bool { return in.Tables.Set && len(in.Tables.V.Tables.Items) != 1 }, "S3TablesConfigurationList must have exactly one table."},
	{func(in *createChannelInput) bool { return in.Bucket.Set && in.format() == "GSR_JSON" }, "RecordFormatType GSR_JSON is only supported for S3TablesDestinationConfiguration."},
	{func(in *createChannelInput) bool {
		return in.Tables.Set && (in.format() == "STRING" || in.format() == "BYTE_ARRAY")
	}, "RecordFormatType STRING and BYTE_ARRAY are only supported for S3DestinationConfiguration."},
	{func(in *createChannelInput) bool { return in.Tables.Set && !in.Streams.Items[0].Records.V.Schema.Set }, "GSRSchemaARN is required for S3TablesDestinationConfiguration."},
	{func(in *createChannelInput) bool {
		return badFreshness(in.Bucket.V.Freshness) || badFreshness(in.Tables.V.Freshness)
	}, freshnessMessage},
	{func(in *createChannelInput) bool { return strings.HasSuffix(in.Key.V.KeyID.V, "aws/kinesis") }, "The KeyId of a channel must be a customer managed key."},
}

const freshnessMessage = "DataFreshnessInSeconds must be between 300 and 900."

func badFreshness(n shape.Int) bool { return n.Set && (n.V < minFreshness || n.V > maxFreshness) }

func (in *createChannelInput) format() string { return in.Streams.Items[0].Records.V.Format.V }

func (a *API) createChannel(ctx context.Context, _ arn.Scope, in *createChannelInput) (shape.Output, error) {
	for _, r := range channelRules {
		if r.broken(in) {
			return nil, invalidArgument("%s", r.message)
		}
	}
	key, err := in.key()
	if err != nil {
		return nil, err
	}
	if err := checkTags(key, in.Tags.V); err != nil {
		return nil, err
	}
	s, err := a.engine.Command(ctx, state.CreateChannel{Key: key, Channel: in.config(), Delay: a.cfg.TransitionDelay})
	if err != nil {
		return nil, apiError(err)
	}
	return a.channelOutput(s, s.Channels[len(s.Channels)-1]), nil
}

func (in *createChannelInput) config() state.ChannelConfig {
	records := in.Streams.Items[0].Records.V
	c := state.ChannelConfig{
		Name: in.Name.V, Role: in.Role.V, Format: records.Format.V, Schema: records.Schema.V,
		KeyID: in.Key.V.KeyID.V, Logs: in.Logging.V.logs(), Tags: in.Tags.V,
	}
	if b := in.Bucket.V; in.Bucket.Set {
		c.Bucket = &state.BucketDestination{
			Bucket: b.Storage.V.Bucket.V, Owner: b.Storage.V.Owner.V, Compression: b.Storage.V.Compression.V,
			Template: b.Storage.V.Template.V, Class: b.Storage.V.Class.V,
			Freshness: int(b.Freshness.Or(minFreshness)), Failed: b.Failed.V.failed(),
		}
		return c
	}
	t := in.Tables.V
	table := t.Tables.Items[0]
	c.Table = &state.TableDestination{
		Bucket: table.Bucket.V, Namespace: table.Namespace.V, Name: table.Name.V, Compression: table.Compression.V,
		Freshness: int(t.Freshness.Or(minFreshness)), Failed: t.Failed.V.failed(),
	}
	for _, f := range table.Partition.V.Fields.Items {
		c.Table.Partition = append(c.Table.Partition, state.PartitionField{Transform: f.Transform.V, Source: f.Source.V})
	}
	return c
}

func (f *failedConfig) failed() state.FailedRecords {
	return state.FailedRecords{Bucket: f.Bucket.V, Owner: f.Owner.V, Prefix: f.Prefix.V}
}

func (l *loggingConfig) logs() state.ChannelLogs {
	return state.ChannelLogs{Enabled: l.Logs.V.Enabled.V, Group: l.Logs.V.Group.V, Stream: l.Logs.V.Stream.V}
}

// key returns the first stream that the channel would read.
func (in *createChannelInput) key() (state.StreamKey, error) {
	return parseStreamARN(in.Streams.Items[0].StreamARN.V)
}

// named makes every input that names a channel known as one.
func (in *channelInput) named() *channelInput { return in }

// channel returns the channel that a resource name is about, and its stream.
func (a *API) channel(in *channelInput) (*state.Stream, *state.Channel, error) {
	parts := strings.SplitN(in.ARN.V, ":", 6)
	scope := arn.Scope{Account: parts[4], Region: parts[3]} // the pattern has six parts
	id, _ := strings.CutPrefix(parts[5], "channel/")
	if scope.Channel(id) != in.ARN.V {
		return nil, nil, invalidArgument("ChannelARN %s is not the name of a channel.", in.ARN.V)
	}
	now := a.engine.Now()
	for _, s := range a.engine.Streams(scope) {
		for _, c := range s.LiveChannels(now) {
			if c.ID == id {
				return s, c, nil
			}
		}
	}
	return nil, nil, state.NoChannel(state.StreamKey{Scope: scope}, id)
}

func (a *API) describeChannel(_ context.Context, _ arn.Scope, in *channelInput) (shape.Output, error) {
	s, c, err := a.channel(in)
	if err != nil {
		return nil, err
	}
	return a.channelOutput(s, c), nil
}

func (a *API) deleteChannel(ctx context.Context, _ arn.Scope, in *channelInput) (shape.Output, error) {
	s, c, err := a.channel(in)
	if err != nil {
		return nil, err
	}
	_, err = a.engine.Command(ctx, state.DeleteChannel{Key: s.Key, ID: c.ID, Delay: a.cfg.TransitionDelay})
	return nil, apiError(err)
}

func (a *API) updateChannel(ctx context.Context, _ arn.Scope, in *updateChannelInput) (shape.Output, error) {
	if badFreshness(in.Bucket.V.Freshness) || badFreshness(in.Tables.V.Freshness) {
		return nil, invalidArgument("%s", freshnessMessage)
	}
	s, c, err := a.channel(&in.channelInput)
	if err != nil {
		return nil, err
	}
	cmd := state.UpdateChannel{
		Key: s.Key, ID: c.ID, Delay: a.cfg.TransitionDelay,
		BucketFreshness: int(in.Bucket.V.Freshness.V), TableFreshness: int(in.Tables.V.Freshness.V),
	}
	if in.Logging.Set {
		logs := in.Logging.V.logs()
		cmd.Logs = &logs
	}
	if s, err = a.engine.Command(ctx, cmd); err != nil {
		return nil, apiError(err)
	}
	i := slices.IndexFunc(s.Channels, func(ch *state.Channel) bool { return ch.ID == c.ID })
	return a.channelOutput(s, s.Channels[i]), nil
}

func (a *API) channelOutput(s *state.Stream, c *state.Channel) *channelOutput {
	return &channelOutput{channelView{s, c, a.engine.Now()}}
}

// channelView is a channel of a stream at one time.
type channelView struct {
	stream *state.Stream
	*state.Channel
	now time.Time
}

// encode writes what a channel's description and summary begin with.
func (v *channelView) encode(e shape.Encoder) {
	status, _ := v.At(v.now)
	e.String("ChannelName", v.Name)
	e.String("ChannelARN", v.ARN(v.stream.Key))
	e.String("ChannelId", v.ID)
	e.String("ChannelStatus", string(status))
	e.Time("ChannelCreationTimestamp", v.Created)
}

func (v *channelView) encodeStream(e shape.Encoder) {
	e.String("StreamARN", v.stream.Key.ARN())
	e.Time("StreamCreationTimestamp", v.stream.Created)
}

type channelOutput struct{ channelView }

func (o *channelOutput) Size() int { return 2048 }

func (o *channelOutput) Encode(e shape.Encoder) {
	e.Begin("ChannelDescription")
	o.encode(e)
	e.String("ServiceExecutionRoleARN", o.Role)
	e.BeginList("StreamConfigurationList")
	e.BeginElem()
	o.encodeStream(e)
	e.Begin("RecordConfiguration")
	e.String("RecordFormatType", o.Format)
	encodeSet(e, "GSRSchemaARN", o.Schema)
	e.End()
	e.End()
	e.EndList()
	if o.Bucket != nil {
		encodeBucket(e, o.Bucket)
	}
	if o.Table != nil {
		encodeTable(e, o.Table)
	}
	if o.KeyID != "" {
		e.Begin("EncryptionConfiguration")
		e.String("EncryptionType", kmsEncryption)
		e.String("KeyId", o.KeyID)
		e.End()
	}
	e.Begin("LoggingConfiguration")
	e.Begin("CloudWatchLogs")
	e.Bool("Enabled", o.Logs.Enabled)
	encodeSet(e, "LogGroupName", o.Logs.Group)
	encodeSet(e, "LogStreamName", o.Logs.Stream)
	e.End()
	e.End()
	e.End()
}

// encodeSet writes a text that was given.
func encodeSet(e shape.Encoder, key, value string) {
	if value != "" {
		e.String(key, value)
	}
}

func encodeFailed(e shape.Encoder, freshness int, f state.FailedRecords) {
	e.Int("DataFreshnessInSeconds", int64(freshness))
	e.Begin("DeadLetterQueueS3Configuration")
	e.String("BucketARN", f.Bucket)
	e.String("ExpectedBucketOwner", f.Owner)
	encodeSet(e, "ErrorOutputPrefix", f.Prefix)
	e.End()
}

func encodeBucket(e shape.Encoder, b *state.BucketDestination) {
	e.Begin("S3DestinationConfiguration")
	encodeFailed(e, b.Freshness, b.Failed)
	e.Begin("StorageConfiguration")
	e.String("BucketARN", b.Bucket)
	e.String("ExpectedBucketOwner", b.Owner)
	encodeSet(e, "OutputKeyTemplate", b.Template)
	encodeSet(e, "StorageClass", b.Class)
	e.String("CompressionType", b.Compression)
	e.End()
	e.End()
}

func encodeTable(e shape.Encoder, t *state.TableDestination) {
	e.Begin("S3TablesDestinationConfiguration")
	encodeFailed(e, t.Freshness, t.Failed)
	e.BeginList("S3TablesConfigurationList")
	e.BeginElem()
	e.String("TableBucketARN", t.Bucket)
	e.String("Namespace", t.Namespace)
	e.String("TableName", t.Name)
	e.String("CompressionType", t.Compression)
	if len(t.Partition) > 0 {
		e.Begin("PartitionSpec")
		e.BeginList("PartitionFields")
		for _, f := range t.Partition {
			e.BeginElem()
			e.String("Transform", f.Transform)
			e.String("SourceName", f.Source)
			e.End()
		}
		e.EndList()
		e.End()
	}
	e.End()
	e.EndList()
	e.End()
}

func (a *API) listChannels(_ context.Context, scope arn.Scope, in *listChannelsInput) (shape.Output, error) {
	after := ""
	if in.NextToken.Set {
		t, err := a.openPage(sealChannels, in.NextToken.V)
		if err != nil {
			return nil, err
		}
		after = t.After
	}
	now := a.engine.Now()
	out := new(listChannelsOutput)
	for _, s := range a.engine.Streams(scope) {
		if !in.wants(s) {
			continue
		}
		for _, c := range s.LiveChannels(now) {
			if c.Name > after {
				out.channels = append(out.channels, channelView{s, c, now})
			}
		}
	}
	slices.SortFunc(out.channels, func(a, b channelView) int { return strings.Compare(a.Name, b.Name) })
	if limit := min(int(in.MaxResults.Or(channelPage)), channelPage); limit < len(out.channels) {
		out.channels = out.channels[:limit]
		out.next = a.sealPage(sealChannels, pageToken{Issued: now, After: out.channels[limit-1].Name})
	}
	return out, nil
}

// wants reports whether the channels of s are asked for.
func (in *listChannelsInput) wants(s *state.Stream) bool {
	return !in.Filter.Set || slices.ContainsFunc(in.Filter.Items, func(f streamFilter) bool {
		// Clients remember the creation in whole seconds.
		return f.StreamARN.V == s.Key.ARN() && (!f.Created.Set || int64(f.Created.V)/1000 == s.Created.Unix())
	})
}

type listChannelsOutput struct {
	channels []channelView
	next     string // empty on the last page
}

func (o *listChannelsOutput) Size() int { return 64 + 512*len(o.channels) }

func (o *listChannelsOutput) Encode(e shape.Encoder) {
	e.BeginList("ChannelSummaries")
	for i := range o.channels {
		v := &o.channels[i]
		e.BeginElem()
		v.encode(e)
		kind := "S3"
		if v.Table != nil {
			kind = "S3_TABLES"
		}
		e.String("ChannelDestinationType", kind)
		e.BeginList("Streams")
		e.BeginElem()
		v.encodeStream(e)
		e.End()
		e.EndList()
		e.End()
	}
	e.EndList()
	if o.next != "" {
		e.String("NextToken", o.next)
	}
}
