package state_test

import (
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// Commands lie in journals under their names, with their fields' names: neither
// can be changed.
func TestCommandsAreAFormat(t *testing.T) {
	const s = `"Key":{"Account":"000000000000","Region":"us-east-1","Name":"s"}`
	plain := create("s", 2)
	tagged := plain
	tagged.Tags = map[string]string{"b": "2", "a": "1"}
	warm := plain
	warm.Mode, warm.Warm, warm.Distribution = state.OnDemand, new(int), state.Auto
	for _, tt := range []struct {
		do   state.Command
		want string
	}{
		{plain, `CreateStream{` + s + `,"ShardCount":2,"Mode":"PROVISIONED","MaxRecordBytes":1048576,"Delay":0}`},
		{tagged, `CreateStream{` + s + `,"ShardCount":2,"Mode":"PROVISIONED","MaxRecordBytes":1048576,"Tags":{"a":"1","b":"2"},"Delay":0}`},
		{state.DeleteStream{Key: key("s"), Delay: time.Second}, `DeleteStream{` + s + `,"Delay":1000000000}`},
		{state.SplitShard{Key: key("s"), Shard: 1, NewStartingHash: hashkey.Key{Lo: 7}}, `SplitShard{` + s + `,"Shard":1,"NewStartingHash":{"Hi":0,"Lo":7},"Delay":0}`},
		{state.MergeShards{Key: key("s"), Adjacent: 1}, `MergeShards{` + s + `,"Shard":0,"Adjacent":1,"Delay":0}`},
		{state.UpdateShardCount{Key: key("s"), Target: 3}, `UpdateShardCount{` + s + `,"Target":3,"Delay":0}`},
		{state.ChangeRetention{Key: key("s"), Hours: 48, Increase: true}, `ChangeRetention{` + s + `,"Hours":48,"Increase":true,"Delay":0}`},
		{state.Tag{Key: key("s"), Tags: map[string]string{"a": "1"}}, `Tag{` + s + `,"Tags":{"a":"1"}}`},
		{state.Untag{Key: key("s"), TagKeys: []string{"a"}}, `Untag{` + s + `,"TagKeys":["a"]}`},
		{state.ChangeMonitoring{Key: key("s"), Metrics: []string{"IncomingBytes"}, Enable: true}, `ChangeMonitoring{` + s + `,"Metrics":["IncomingBytes"],"Enable":true,"Delay":0}`},
		{state.ChangeEncryption{Key: key("s"), KeyID: "k"}, `ChangeEncryption{` + s + `,"KeyID":"k","Delay":0}`},
		{state.ChangeMaxRecordSize{Key: key("s"), MaxRecordBytes: 2 << 20}, `ChangeMaxRecordSize{` + s + `,"MaxRecordBytes":2097152,"Delay":0}`},
		{state.ChangeMode{Key: key("s"), Mode: state.OnDemand}, `ChangeMode{` + s + `,"Mode":"ON_DEMAND","Delay":0}`},
		{state.UpdateShardCount{Key: key("s"), Target: 3, Daily: 10}, `UpdateShardCount{` + s + `,"Target":3,"Delay":0,"Daily":10}`},
		{state.ChangeEncryption{Key: key("s"), KeyID: "k", Daily: 25}, `ChangeEncryption{` + s + `,"KeyID":"k","Delay":0,"Daily":25}`},
		{state.ChangeMode{Key: key("s"), Mode: state.OnDemand, Daily: 2}, `ChangeMode{` + s + `,"Mode":"ON_DEMAND","Delay":0,"Daily":2}`},
		{warm, `CreateStream{` + s + `,"ShardCount":2,"Mode":"ON_DEMAND","MaxRecordBytes":1048576,"Warm":0,"Distribution":"AUTO","Delay":0}`},
		{state.ChangeMode{Key: key("s"), Mode: state.OnDemand, Warm: warm.Warm}, `ChangeMode{` + s + `,"Mode":"ON_DEMAND","Warm":0,"Delay":0}`},
		{state.ChangeWarmThroughput{Key: key("s"), MiBps: 7}, `ChangeWarmThroughput{` + s + `,"MiBps":7,"Delay":0}`},
		{state.ChangeDistribution{Key: key("s"), Distribution: state.Auto}, `ChangeDistribution{` + s + `,"Distribution":"AUTO"}`},
		{state.ChangeCommitment{Scope: scope, Enable: true}, `ChangeCommitment{"Scope":{"Account":"000000000000","Region":"us-east-1"},"Enable":true}`},
		{state.PutPolicy{Key: key("s"), Policy: "{}"}, `PutPolicy{` + s + `,"Policy":"{}"}`},
		{state.PutPolicy{Key: key("s"), Consumer: "c:1", Policy: "{}"}, `PutPolicy{` + s + `,"Consumer":"c:1","Policy":"{}"}`},
		{state.DeletePolicy{Key: key("s"), Consumer: "c:1"}, `DeletePolicy{` + s + `,"Consumer":"c:1"}`},
		{state.DeleteStream{Key: key("s"), Enforce: true}, `DeleteStream{` + s + `,"Enforce":true,"Delay":0}`},
		{state.Tag{Key: key("s"), Consumer: "c:1", Tags: map[string]string{"a": "1"}}, `Tag{` + s + `,"Consumer":"c:1","Tags":{"a":"1"}}`},
		{state.Untag{Key: key("s"), Consumer: "c:1", TagKeys: []string{"a"}}, `Untag{` + s + `,"Consumer":"c:1","TagKeys":["a"]}`},
		{state.RegisterConsumer{Key: key("s"), Name: "c", Tags: map[string]string{"a": "1"}}, `RegisterConsumer{` + s + `,"Name":"c","Tags":{"a":"1"},"Delay":0}`},
		{state.DeregisterConsumer{Key: key("s"), Consumer: "c:1"}, `DeregisterConsumer{` + s + `,"Consumer":"c:1","Delay":0}`},
		{state.CreateChannel{Key: key("s"), Channel: bucketChannel("n")}, `CreateChannel{` + s + `,"Channel":{"Name":"n","Role":"r","Format":"JSON","Bucket":{"Bucket":"b","Owner":"o","Compression":"GZIP","Freshness":300,"Failed":{"Bucket":"","Owner":""}},"Table":null,"Logs":{"Enabled":true}},"Delay":0}`},
		{state.CreateChannel{Key: key("s"), Channel: tableChannel("n")}, `CreateChannel{` + s + `,"Channel":{"Name":"n","Role":"r","Format":"JSON","Schema":"g","Bucket":null,"Table":{"Bucket":"b","Namespace":"ns","Name":"t","Compression":"ZSTD","Partition":[{"Transform":"TIME_HOUR","Source":"at"}],"Freshness":300,"Failed":{"Bucket":"f","Owner":"o","Prefix":"p"}},"Logs":{"Enabled":false}},"Delay":0}`},
		{state.UpdateChannel{Key: key("s"), ID: "i", BucketFreshness: 300, Logs: &state.ChannelLogs{Enabled: true}}, `UpdateChannel{` + s + `,"ID":"i","BucketFreshness":300,"Logs":{"Enabled":true},"Delay":0}`},
		{state.DeleteChannel{Key: key("s"), ID: "i"}, `DeleteChannel{` + s + `,"ID":"i","Delay":0}`},
		{state.Complete{StreamID: 1, Transition: 2}, `Complete{"StreamID":1,"Transition":2}`},
		{state.Skip{Seq: 1, IDs: 2}, `Skip{"Seq":1,"IDs":2}`},
	} {
		name, _, _ := strings.Cut(tt.want, "{")
		t.Run(name, func(t *testing.T) {
			entry, err := state.AppendCommand(nil, tt.do)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(entry); !strings.HasSuffix(got, string(rune(len(name)))+tt.want) {
				t.Errorf("stored as %q\nwant       %q", got, tt.want)
			}
		})
	}
}
