package zapsink_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.uber.org/zap"

	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/logappender/zapsink"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// TestThroughZapConfig is the only test that registers: zap allows it once.
func TestThroughZapConfig(t *testing.T) {
	srv := streamdtest.New(t)
	srv.CreateStream(t, "logs", 1)
	var region string
	var opened *logappender.Appender
	cfg := zapsink.Config{
		Client:   func(r string) (producer.API, error) { region = r; return srv.Kinesis(), nil },
		Producer: producer.Config{DisableAggregation: true},
		OnOpen:   func(_ string, a *logappender.Appender) { opened = a },
	}
	if err := zapsink.Register(cfg); err != nil {
		t.Fatal(err)
	}
	if err := zapsink.Register(cfg); err == nil {
		t.Error("a second Register succeeds")
	}
	zcfg := zap.NewProductionConfig()
	sink, closeSink, err := zap.Open("kinesis://logs?region=eu-west-1&key=fixed:k&budget=1MiB&overflow=drop_oldest&spill=" + url.QueryEscape(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	zcfg.OutputPaths = []string{"kinesis://logs?region=eu-west-2"}
	l, err := zcfg.Build()
	if err != nil {
		t.Fatal(err)
	}
	second := opened
	l.Info("by Build", zap.Int("i", 1))
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	if region != "eu-west-2" || second.Stats().Delivered.Total() != 1 {
		t.Errorf("region %q, %+v", region, second.Stats())
	}
	if _, err := sink.Write([]byte("{\"msg\":\"by Open\"}\n")); err != nil {
		t.Fatal(err)
	}
	closeSink()
	var msgs []string
	for _, r := range srv.Records(t, "logs") {
		var e struct{ Msg string }
		if err := json.Unmarshal(r.Data, &e); err != nil {
			t.Errorf("%q: %v", r.Data, err)
		}
		msgs = append(msgs, e.Msg)
	}
	if strings.Join(msgs, ",") != "by Build,by Open" {
		t.Errorf("the stream has %q", msgs)
	}
	if err := second.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOpenReportsAllFaults(t *testing.T) {
	for _, tt := range []struct {
		address string
		want    []string
	}{
		{"kinesis://", []string{"no stream"}},
		{"kinesis://logs/path", []string{"no more"}},
		{"kinesis://u:secret@logs", []string{"no more", "xxxxx"}},
		{"kinesis://logs?budget=8MB&overflow=never&key=field:x&lnger=1s&linger=soon&region=a&region=b", []string{
			`"8MB" is no size`, `"never" is none of block, drop_newest, drop_oldest`, "neither random nor fixed", "parameter lnger is none of budget, key",
			`"soon"`, "region is given 2 times",
		}},
		{"kinesis://logs?budget=999999999999GiB", []string{"no size"}},
		{"kinesis://logs?budget=1KiB", []string{"BufferBytes 1024 is outside"}},
		{"kinesis://logs?region=bad", []string{"client for region \"bad\"", "no such region"}},
	} {
		u, err := url.Parse(tt.address)
		if err != nil {
			t.Fatal(err)
		}
		_, err = zapsink.Open(u, zapsink.Config{Client: func(region string) (producer.API, error) {
			if region == "bad" {
				return nil, errors.New("no such region")
			}
			return noAPI{}, nil
		}})
		if err == nil {
			t.Errorf("%s: no error", tt.address)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", tt.address, err, want)
			}
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password", tt.address)
		}
	}
	if err := zapsink.Register(zapsink.Config{}); err == nil {
		t.Error("Register without a client succeeds")
	}
}

// noAPI fails.
type noAPI struct{}

var errNoAPI = errors.New("no service")

func (noAPI) PutRecords(context.Context, *kinesis.PutRecordsInput, ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	return nil, errNoAPI
}

func (noAPI) ListShards(context.Context, *kinesis.ListShardsInput, ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	return nil, errNoAPI
}
