package nullserver

import (
	"fmt"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/seqno"
)

// created is when everything here was made. It is a constant, so that answers
// are the same in every run.
var created = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

const (
	streamARN   = "arn:aws:kinesis:us-east-1:000000000000:stream/load"
	consumerARN = streamARN + "/consumer/load:1767225600"
	iterator    = "AAAAAAAAAAFudWxsc2VydmVyLW9wYXF1ZS1pdGVyYXRvci1vZi1hLXBsYXVzaWJsZS1sZW5ndGgtdGhhdC1pcy1hbHdheXMtdGhlLXNhbWUtYW5kLW5ldmVyLWV4cGlyZXMtMDEyMzQ1Njc4OQ=="
	// behind is how far behind every read is: never at the tip, so that no
	// client waits before it reads on.
	behind = 1000
)

func shardID(i int) string { return fmt.Sprintf("shardId-%012d", i) }

func sequence(shard, index int) string {
	return seqno.Number{
		Create: created.Unix(), Shard: uint32(shard), Index: uint64(index), Time: created.Unix() + 60,
	}.String()
}

// encode makes all answers of one encoding.
func encode(c Config, contentType string, newEncoder func() encoder) encoded {
	answer := func(write func(e encoder)) []byte {
		e := newEncoder()
		e.begin("")
		write(e)
		e.end()
		return e.bytes()
	}
	out := encoded{contentType: contentType}
	for v := range variants {
		out.put[v] = answer(func(e encoder) {
			e.text("SequenceNumber", sequence(v%c.Shards, v+1))
			e.text("ShardId", shardID(v%c.Shards))
		})
		out.batch[v] = putRecords(c, newEncoder(), v)
	}
	out.unknown = answer(func(e encoder) { e.text("__type", "UnknownOperationException") })
	out.start = frame("initial-response", contentType, answer(func(encoder) {}))
	records := func(e encoder, n int) {
		data := make([]byte, c.RecordBytes)
		for i := range data {
			data[i] = byte('a' + i%26)
		}
		e.beginList("Records")
		for i := range n {
			e.begin("")
			e.at("ApproximateArrivalTimestamp", created)
			e.blob("Data", data)
			e.text("PartitionKey", fmt.Sprintf("key-%09d", i))
			e.text("SequenceNumber", sequence(0, i+1))
			e.end()
		}
		e.endList()
	}
	event := func(n int) []byte {
		return frame("SubscribeToShardEvent", contentType, answer(func(e encoder) {
			e.text("ContinuationSequenceNumber", sequence(0, n+1))
			e.num("MillisBehindLatest", behind)
			records(e, n)
		}))
	}
	out.idle, out.one, out.page = event(0), event(1), event(c.PageRecords)
	out.canned = map[string][]byte{
		"CreateStream":             nil,
		"DeleteStream":             nil,
		"DeregisterStreamConsumer": nil,
		"GetShardIterator":         answer(func(e encoder) { e.text("ShardIterator", iterator) }),
		"DescribeStreamSummary":    answer(func(e encoder) { summary(e, c) }),
		"RegisterStreamConsumer":   answer(func(e encoder) { consumer(e, "Consumer") }),
		"DescribeStreamConsumer":   answer(func(e encoder) { consumer(e, "ConsumerDescription") }),
		"ListShards":               answer(func(e encoder) { shards(e, c.Shards) }),
		"ListStreams":              answer(listStreams),
		"GetRecords": answer(func(e encoder) {
			e.num("MillisBehindLatest", behind)
			e.text("NextShardIterator", iterator)
			records(e, c.PageRecords)
		}),
	}
	return out
}

// putRecords makes the answer to a PutRecords, whose records go to the shards
// in turn.
func putRecords(c Config, e encoder, variant int) batch {
	var b batch
	e.begin("")
	e.num("FailedRecordCount", 0)
	e.beginList("Records")
	b.ends[0] = len(e.bytes())
	for i := range maxPut {
		shard := i % c.Shards
		e.begin("")
		e.text("SequenceNumber", sequence(shard, variant*maxPut+i+1))
		e.text("ShardId", shardID(shard))
		e.end()
		b.ends[i+1] = len(e.bytes())
	}
	b.all = e.bytes()
	n := len(b.all)
	e.endList()
	e.end()
	b.tail = e.bytes()[n:]
	b.all = b.all[:n:n]
	return b
}

func summary(e encoder, c Config) {
	e.begin("StreamDescriptionSummary")
	e.num("ConsumerCount", 0)
	e.beginList("EnhancedMonitoring")
	e.endList()
	e.num("OpenShardCount", int64(c.Shards))
	e.num("RetentionPeriodHours", 24)
	e.text("StreamARN", streamARN)
	e.at("StreamCreationTimestamp", created)
	e.text("StreamName", "load")
	e.text("StreamStatus", "ACTIVE")
	e.end()
}

func consumer(e encoder, key string) {
	e.begin(key)
	e.text("ConsumerARN", consumerARN)
	e.at("ConsumerCreationTimestamp", created)
	e.text("ConsumerName", "load")
	e.text("ConsumerStatus", "ACTIVE")
	e.text("StreamARN", streamARN)
	e.end()
}

func shards(e encoder, n int) {
	e.beginList("Shards")
	for i, r := range hashkey.Uniform(n) {
		e.begin("")
		e.begin("HashKeyRange")
		e.text("EndingHashKey", r.End.String())
		e.text("StartingHashKey", r.Start.String())
		e.end()
		e.begin("SequenceNumberRange")
		e.text("StartingSequenceNumber", sequence(i, 0))
		e.end()
		e.text("ShardId", shardID(i))
		e.end()
	}
	e.endList()
}

func listStreams(e encoder) {
	e.flag("HasMoreStreams", false)
	e.beginList("StreamNames")
	e.text("", "load")
	e.endList()
}

// dynamo are the answers of tables: one table with one lease.
func dynamo() map[string][]byte {
	table := `{"AttributeDefinitions":[{"AttributeName":"leaseKey","AttributeType":"S"}],"CreationDateTime":1767225600,"ItemCount":0,` +
		`"KeySchema":[{"AttributeName":"leaseKey","KeyType":"HASH"}],"TableName":"leases","TableStatus":"ACTIVE"}`
	return map[string][]byte{
		"CreateTable":   []byte(`{"TableDescription":` + table + `}`),
		"DescribeTable": []byte(`{"Table":` + table + `}`),
		"PutItem":       []byte(`{}`),
		"UpdateItem":    []byte(`{}`),
		"GetItem": []byte(`{"Item":{"leaseKey":{"S":"` + shardID(0) + `"},"leaseOwner":{"S":"load"},` +
			`"leaseCounter":{"N":"1"},"checkpoint":{"S":"TRIM_HORIZON"}}}`),
	}
}
