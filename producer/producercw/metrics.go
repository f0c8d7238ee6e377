package producercw

import (
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"github.com/streamkit/streamkit/internal/cwsend"
)

// kind is what is fixed about a metric.
type kind struct {
	name     string
	unit     types.StandardUnit
	detailed bool // not part of level summary
	perShard bool
}

var (
	userRecordsReceived = &kind{"UserRecordsReceived", types.StandardUnitCount, true, false}
	userRecordsPending  = &kind{"UserRecordsPending", types.StandardUnitCount, true, false}
	userRecordsPut      = &kind{"UserRecordsPut", types.StandardUnitCount, false, true}
	userRecordsDataPut  = &kind{"UserRecordsDataPut", types.StandardUnitBytes, true, true}
	userRecordExpired   = &kind{"UserRecordExpired", types.StandardUnitCount, false, true}
	retriesPerRecord    = &kind{"RetriesPerRecord", types.StandardUnitCount, true, true}
	bufferingTime       = &kind{"BufferingTime", types.StandardUnitMilliseconds, false, true}
	kinesisRecordsPut   = &kind{"KinesisRecordsPut", types.StandardUnitCount, false, true}
	kinesisRecordsData  = &kind{"KinesisRecordsDataPut", types.StandardUnitBytes, true, true}
	userPerKinesis      = &kind{"UserRecordsPerKinesisRecord", types.StandardUnitCount, true, true}
	errorsByCode        = &kind{"ErrorsByCode", types.StandardUnitCount, false, true}
	allErrors           = &kind{"AllErrors", types.StandardUnitCount, false, true}
	requestTime         = &kind{"RequestTime", types.StandardUnitMilliseconds, true, false}
	kinesisPerRequest   = &kind{"KinesisRecordsPerPutRecordsRequest", types.StandardUnitCount, true, false}
	userPerRequest      = &kind{"UserRecordsPerPutRecordsRequest", types.StandardUnitCount, true, false}
)

// series is a metric with its dimensions. An empty one stands for all.
type series struct {
	kind                *kind
	code, stream, shard string
}

// rollUp returns the sums of all series, and of those that stand for all shards of
// a stream, and for all streams.
func rollUp(fine map[series]*cwsend.Sum, g Granularity) map[series]*cwsend.Sum {
	all := make(map[series]*cwsend.Sum, len(fine)+64)
	add := func(k series, v *cwsend.Sum) {
		if all[k] == nil {
			all[k] = new(cwsend.Sum)
		}
		all[k].Join(*v)
	}
	for k, v := range fine {
		add(series{kind: k.kind, code: k.code}, v)
		if g != Global {
			add(series{kind: k.kind, code: k.code, stream: k.stream}, v)
		}
		if g == Shard && k.shard != "" {
			add(k, v)
		}
	}
	return all
}
