package api

import "github.com/streamkit/streamkit/streamd/internal/awsproto/shape"

// Constraints of the model on channels.
//
// Source: the API reference of Kinesis, 2026-10.
var (
	channelARNRules = shape.Length(1, 2048).Matching(pattern(`arn:aws.*:kinesis:.*:\d{12}:channel/\S+`))
	roleRules       = shape.Length(1, 512).Matching(pattern(`arn:aws[-a-z0-9]*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+`))
	schemaRules     = shape.Length(1, 512).Matching(pattern(`arn:aws[-a-z0-9]*:glue:[-a-z0-9]+:\d{12}:schema/[-a-zA-Z0-9_$#.]+/[-a-zA-Z0-9_$#.]+`))
	bucketRules     = shape.Length(1, 2048).Matching(pattern(`arn:aws[-a-z0-9]*:s3:::[a-z0-9._-]{3,63}`))
	tableRules      = shape.Length(1, 2048).Matching(pattern(`arn:aws[-a-z0-9]*:s3tables:[-a-z0-9]+:\d{12}:bucket/[a-z0-9_-]{3,63}`))
	ownerRules      = shape.Length(12, 12).Matching(pattern(`\d{12}`))
	tableNameRules  = shape.Length(1, 255).Matching(pattern(`[0-9a-z_]+`))
	anyListRules    = shape.Length(1, 10000)
)

type recordConfig struct {
	Format shape.String
	Schema shape.String
}

type channelStream struct {
	StreamARN shape.String
	Records   shape.Opt[recordConfig]
}

type failedConfig struct {
	Bucket, Owner, Prefix shape.String
}

type storageConfig struct {
	Bucket, Owner, Template, Class, Compression shape.String
}

type bucketConfig struct {
	Freshness shape.Int
	Failed    shape.Opt[failedConfig]
	Storage   shape.Opt[storageConfig]
}

type partitionField struct{ Transform, Source shape.String }

type partitionSpec struct {
	Fields shape.List[partitionField]
}

type tableConfig struct {
	Bucket, Namespace, Name, Compression shape.String
	Partition                            shape.Opt[partitionSpec]
}

type tablesConfig struct {
	Freshness shape.Int
	Failed    shape.Opt[failedConfig]
	Tables    shape.List[tableConfig]
}

type channelKey struct {
	Type, KeyID shape.String
}

type cloudWatchLogs struct {
	Enabled       shape.Bool
	Group, Stream shape.String
}

type loggingConfig struct {
	Logs shape.Opt[cloudWatchLogs]
}

var failedShape = shape.Struct{
	shape.Of("BucketARN", func(in *failedConfig) *shape.String { return &in.Bucket }, bucketRules.Req()),
	shape.Of("ExpectedBucketOwner", func(in *failedConfig) *shape.String { return &in.Owner }, ownerRules.Req()),
	shape.Of("ErrorOutputPrefix", func(in *failedConfig) *shape.String { return &in.Prefix },
		shape.Length(1, 512).Matching(pattern(`[0-9A-Za-z!\-_'.*()\/]+`))),
}

var bucketShape = shape.Struct{
	shape.Of("DataFreshnessInSeconds", func(in *bucketConfig) *shape.Int { return &in.Freshness }, shape.Rules{}),
	shape.Of("DeadLetterQueueS3Configuration", func(in *bucketConfig) *shape.Opt[failedConfig] { return &in.Failed }, shape.Rules{}).With(failedShape),
	shape.Of("StorageConfiguration", func(in *bucketConfig) *shape.Opt[storageConfig] { return &in.Storage }, shape.Rules{}.Req()).With(shape.Struct{
		shape.Of("BucketARN", func(in *storageConfig) *shape.String { return &in.Bucket }, bucketRules.Req()),
		shape.Of("ExpectedBucketOwner", func(in *storageConfig) *shape.String { return &in.Owner }, ownerRules.Req()),
		shape.Of("OutputKeyTemplate", func(in *storageConfig) *shape.String { return &in.Template },
			shape.Length(1, 1024).Matching(pattern(`[0-9A-Za-z!\-_'.*()\/=:{}]+`))),
		shape.Of("StorageClass", func(in *storageConfig) *shape.String { return &in.Class }, shape.OneOf("STANDARD", "INTELLIGENT_TIERING", "GLACIER_IR")),
		shape.Of("CompressionType", func(in *storageConfig) *shape.String { return &in.Compression }, shape.OneOf("NONE", "GZIP", "ZSTD").Req()),
	}),
}

var tablesShape = shape.Struct{
	shape.Of("DataFreshnessInSeconds", func(in *tablesConfig) *shape.Int { return &in.Freshness }, shape.Rules{}),
	shape.Of("DeadLetterQueueS3Configuration", func(in *tablesConfig) *shape.Opt[failedConfig] { return &in.Failed }, shape.Rules{}.Req()).With(failedShape),
	shape.Of("S3TablesConfigurationList", func(in *tablesConfig) *shape.List[tableConfig] { return &in.Tables }, anyListRules.Req()).With(shape.Struct{
		shape.Of("TableBucketARN", func(in *tableConfig) *shape.String { return &in.Bucket }, tableRules.Req()),
		shape.Of("Namespace", func(in *tableConfig) *shape.String { return &in.Namespace }, tableNameRules.Req()),
		shape.Of("TableName", func(in *tableConfig) *shape.String { return &in.Name }, tableNameRules.Req()),
		shape.Of("CompressionType", func(in *tableConfig) *shape.String { return &in.Compression }, shape.OneOf("NONE", "ZSTD", "SNAPPY").Req()),
		shape.Of("PartitionSpec", func(in *tableConfig) *shape.Opt[partitionSpec] { return &in.Partition }, shape.Rules{}).With(shape.Struct{
			shape.Of("PartitionFields", func(in *partitionSpec) *shape.List[partitionField] { return &in.Fields }, shape.Rules{}.Req()).With(shape.Struct{
				shape.Of("Transform", func(in *partitionField) *shape.String { return &in.Transform }, shape.OneOf("TIME_HOUR").Req()),
				shape.Of("SourceName", func(in *partitionField) *shape.String { return &in.Source },
					shape.Length(1, 255).Matching(pattern(`[a-zA-Z0-9._]+`)).Req()),
			}),
		}),
	}),
}

var loggingShape = shape.Struct{
	shape.Of("CloudWatchLogs", func(in *loggingConfig) *shape.Opt[cloudWatchLogs] { return &in.Logs }, shape.Rules{}.Req()).With(shape.Struct{
		shape.Of("Enabled", func(in *cloudWatchLogs) *shape.Bool { return &in.Enabled }, shape.Rules{}.Req()),
		shape.Of("LogGroupName", func(in *cloudWatchLogs) *shape.String { return &in.Group }, shape.Length(1, 512).Matching(pattern(`[\.\-_/#A-Za-z0-9]+`))),
		shape.Of("LogStreamName", func(in *cloudWatchLogs) *shape.String { return &in.Stream }, shape.Length(1, 512).Matching(pattern(`[^:*]+`))),
	}),
}

type createChannelInput struct {
	Name    shape.String
	Role    shape.String
	Streams shape.List[channelStream]
	Bucket  shape.Opt[bucketConfig]
	Tables  shape.Opt[tablesConfig]
	Key     shape.Opt[channelKey]
	Tags    shape.Map
	Logging shape.Opt[loggingConfig]
}

var createChannelShape = shape.Struct{
	shape.Of("ChannelName", func(in *createChannelInput) *shape.String { return &in.Name }, nameRules.Req()),
	shape.Of("ServiceExecutionRoleARN", func(in *createChannelInput) *shape.String { return &in.Role }, roleRules.Req()),
	shape.Of("StreamConfigurationList", func(in *createChannelInput) *shape.List[channelStream] { return &in.Streams }, anyListRules.Req()).With(shape.Struct{
		shape.Of("StreamARN", func(in *channelStream) *shape.String { return &in.StreamARN }, streamARNRules.Req()),
		shape.Of("RecordConfiguration", func(in *channelStream) *shape.Opt[recordConfig] { return &in.Records }, shape.Rules{}.Req()).With(shape.Struct{
			shape.Of("RecordFormatType", func(in *recordConfig) *shape.String { return &in.Format }, shape.OneOf("GSR_JSON", "JSON", "STRING", "BYTE_ARRAY").Req()),
			shape.Of("GSRSchemaARN", func(in *recordConfig) *shape.String { return &in.Schema }, schemaRules),
		}),
	}),
	shape.Of("S3DestinationConfiguration", func(in *createChannelInput) *shape.Opt[bucketConfig] { return &in.Bucket }, shape.Rules{}).With(bucketShape),
	shape.Of("S3TablesDestinationConfiguration", func(in *createChannelInput) *shape.Opt[tablesConfig] { return &in.Tables }, shape.Rules{}).With(tablesShape),
	shape.Of("EncryptionConfiguration", func(in *createChannelInput) *shape.Opt[channelKey] { return &in.Key }, shape.Rules{}).With(shape.Struct{
		shape.Of("EncryptionType", func(in *channelKey) *shape.String { return &in.Type }, shape.OneOf(kmsEncryption).Req()),
		shape.Of("KeyId", func(in *channelKey) *shape.String { return &in.KeyID }, shape.Length(1, 2048).Req()),
	}),
	shape.Of("Tags", func(in *createChannelInput) *shape.Map { return &in.Tags }, tagMapRules),
	shape.Of("LoggingConfiguration", func(in *createChannelInput) *shape.Opt[loggingConfig] { return &in.Logging }, shape.Rules{}).With(loggingShape),
}

type channelInput struct{ ARN shape.String }

var channelShape = shape.Struct{
	shape.Of("ChannelARN", func(in *channelInput) *shape.String { return &in.ARN }, channelARNRules.Req()),
}

type freshnessConfig struct{ Freshness shape.Int }

var freshnessShape = shape.Struct{
	shape.Of("DataFreshnessInSeconds", func(in *freshnessConfig) *shape.Int { return &in.Freshness }, shape.Rules{}.Req()),
}

type updateChannelInput struct {
	channelInput
	Bucket, Tables shape.Opt[freshnessConfig]
	Logging        shape.Opt[loggingConfig]
}

var updateChannelShape = shape.Struct{
	shape.Of("ChannelARN", func(in *updateChannelInput) *shape.String { return &in.ARN }, channelARNRules.Req()),
	shape.Of("S3DestinationConfiguration", func(in *updateChannelInput) *shape.Opt[freshnessConfig] { return &in.Bucket }, shape.Rules{}).With(freshnessShape),
	shape.Of("S3TablesDestinationConfiguration", func(in *updateChannelInput) *shape.Opt[freshnessConfig] { return &in.Tables }, shape.Rules{}).With(freshnessShape),
	shape.Of("LoggingConfiguration", func(in *updateChannelInput) *shape.Opt[loggingConfig] { return &in.Logging }, shape.Rules{}).With(loggingShape),
}

type streamFilter struct {
	StreamARN shape.String
	Created   shape.Time
}

type listChannelsInput struct {
	Filter     shape.List[streamFilter]
	MaxResults shape.Int
	NextToken  shape.String
}

var listChannelsShape = shape.Struct{
	shape.Of("StreamFilter", func(in *listChannelsInput) *shape.List[streamFilter] { return &in.Filter }, anyListRules).With(shape.Struct{
		shape.Of("StreamARN", func(in *streamFilter) *shape.String { return &in.StreamARN }, streamARNRules.Req()),
		shape.Of("StreamCreationTimestamp", func(in *streamFilter) *shape.Time { return &in.Created }, shape.Rules{}),
	}),
	shape.Of("MaxResults", func(in *listChannelsInput) *shape.Int { return &in.MaxResults }, pageRules),
	shape.Of("NextToken", func(in *listChannelsInput) *shape.String { return &in.NextToken }, tokenRules),
}
