package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/producer"
)

// What a flow's keys make of its producer.
func TestProducerConfig(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	plain := producerConfig(agent.FlowConfig{MaxRecordBytes: 2048}, agent.Service{}, 1, log)
	if plain.OnFailure != producer.SkipOne || plain.RecordTTL >= 0 || plain.MaxUserRecordSize != 1<<20 || plain.MaxBufferedBytes != 2<<20 {
		t.Errorf("a plain flow: %+v", plain)
	}
	f := agent.FlowConfig{
		Ordering: agent.OrderingFile, RecordTTL: time.Minute, MaxRecordBytes: 10 << 20, MaxBufferSizeBytes: 10 << 20,
		MaxBufferAge: time.Second, MaxBufferSizeRecords: 7,
	}
	c := producerConfig(f, agent.Service{SocketTimeout: 3 * time.Second}, 64<<20, log)
	if c.OnFailure != producer.StopKeyed || c.RecordTTL != time.Minute || c.MaxUserRecordSize != 10<<20 || c.MaxBufferedBytes != 64<<20 ||
		c.CollectionMaxSize != 10<<20 || c.CollectionMaxCount != 7 || c.RecordMaxBufferedTime != time.Second || c.RequestTimeout != 3*time.Second {
		t.Errorf("a flow with all keys: %+v", c)
	}
	if got := firehoseConfig(f, agent.Service{}, 1, log).RecordTTL; got != time.Minute {
		t.Errorf("a delivery stream keeps records for %v", got)
	}
	if got := firehoseConfig(agent.FlowConfig{}, agent.Service{}, 1, log).RecordTTL; got >= 0 {
		t.Errorf("a delivery stream keeps records for %v, want for ever", got)
	}
}
