package producercw

import "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

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

// sum is what CloudWatch calls a statistic set.
type sum struct {
	count, total, least, most float64
}

// add adds a value, n times.
func (s *sum) add(value, n float64) {
	s.join(sum{count: n, total: value * n, least: value, most: value})
}

func (s *sum) join(o sum) {
	if s.count == 0 {
		*s = o
		return
	}
	s.count += o.count
	s.total += o.total
	s.least = min(s.least, o.least)
	s.most = max(s.most, o.most)
}

// rollUp returns the sums of all series, and of those that stand for all shards of
// a stream, and for all streams.
func rollUp(fine map[series]*sum, g Granularity) map[series]*sum {
	all := make(map[series]*sum, len(fine)+64)
	add := func(k series, v *sum) {
		if all[k] == nil {
			all[k] = new(sum)
		}
		all[k].join(*v)
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
