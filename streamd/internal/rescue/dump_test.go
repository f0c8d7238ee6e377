package rescue_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/rescue"
)

func crc(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

type dumped struct {
	Stream, Shard, SequenceNumber, PartitionKey, HashKey string
	Index                                                uint64
	Data                                                 []byte
	Arrival                                              string
	Table, Status                                        string
	Items                                                int
	Shards                                               []struct{ Shard string }
	Position                                             uint64
	Entries                                              []struct {
		Records, Command, Table string
		Count                   int
		Do, Body                map[string]any
	}
}

// dump returns the lines of a dump, and what it skipped.
func dump(t *testing.T, d *vfstest.Disk, o rescue.DumpOptions) (lines []dumped, skipped []string) {
	t.Helper()
	forbid(d)
	defer d.SetHook(nil)
	o.Skipped = func(what string) { skipped = append(skipped, what) }
	var out bytes.Buffer
	check(t, rescue.Dump(d, dataDir, &out, o))
	dec := json.NewDecoder(&out)
	for dec.More() {
		var l dumped
		check(t, dec.Decode(&l))
		lines = append(lines, l)
	}
	return lines, skipped
}

func datas(lines []dumped) []string {
	var all []string
	for _, l := range lines {
		all = append(all, string(l.Data))
	}
	return all
}

func TestDumpRecords(t *testing.T) {
	f := build(t)
	lines, skipped := dump(t, f.disk, rescue.DumpOptions{What: "records"})
	if !slices.Equal(datas(lines), f.want) || len(skipped) > 0 {
		t.Errorf("%d records of %d, skipped %v", len(lines), len(f.want), skipped)
	}
	for i, l := range lines {
		if l.PartitionKey != string(l.Data) || l.HashKey == "" || len(l.SequenceNumber) != 56 || l.Arrival == "" || l.Index == 0 ||
			i > 0 && l.Shard == lines[i-1].Shard && l.Stream == lines[i-1].Stream && l.SequenceNumber <= lines[i-1].SequenceNumber {
			t.Fatalf("record %d: %+v", i, l)
		}
	}
	some, _ := dump(t, f.disk, rescue.DumpOptions{What: "records", Stream: "a", Shard: "shardId-000000000001"})
	want := slices.DeleteFunc(slices.Clone(lines), func(l dumped) bool { return l.Stream != "a" || l.Shard != "shardId-000000000001" })
	if len(some) == 0 || !slices.Equal(datas(some), datas(want)) {
		t.Errorf("one shard: %d records, want %d", len(some), len(want))
	}
	for _, o := range []rescue.DumpOptions{{What: "records", Stream: "none"}, {What: "records", Shard: "none"}, {What: "all"}} {
		if err := rescue.Dump(f.disk, dataDir, new(bytes.Buffer), o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

func TestDumpOfDamage(t *testing.T) {
	f := build(t)
	for _, tt := range cases() {
		t.Run(tt.name, func(t *testing.T) {
			d := f.copy()
			tt.do(t, f, d)
			lines, skipped := dump(t, d, rescue.DumpOptions{What: "records"})
			if tt.hopes && len(lines) != len(f.want)-tt.lost && !(tt.name == "the newest snapshot, and the journal before it" || strings.HasSuffix(tt.name, "all of the journal")) {
				t.Errorf("%d records of %d, %d are lost", len(lines), len(f.want), tt.lost)
			}
			if len(lines) < 20 {
				t.Errorf("%d records", len(lines))
			}
			if len(tt.finds) > 0 && len(skipped) == 0 {
				t.Error("nothing is said of the damage")
			}
			for _, l := range lines {
				if !slices.Contains(f.want, string(l.Data)) {
					t.Fatalf("%q was never stored", l.Data)
				}
			}
		})
	}
}

func TestDumpJournalAndState(t *testing.T) {
	f := build(t)
	lines, skipped := dump(t, f.disk, rescue.DumpOptions{What: "journal"})
	if len(lines) != f.perPhase+1 || len(skipped) > 0 {
		t.Fatalf("%d frames, skipped %v", len(lines), skipped)
	}
	if e := lines[0].Entries[0]; !strings.HasPrefix(e.Records, "shardId-") || e.Count != 1 || lines[0].Position <= uint64(f.snaps[1]) {
		t.Errorf("first frame: %+v", lines[0])
	}
	if e := lines[f.perPhase].Entries[0]; e.Table != "PutItem" || e.Body["TableName"] != "leases" {
		t.Errorf("last frame: %+v", lines[f.perPhase])
	}
	s := start(t, f.disk)
	s.create("c", 3)
	d := s.kill()
	lines, _ = dump(t, d, rescue.DumpOptions{What: "journal"})
	if e := lines[len(lines)-1].Entries[0]; e.Command != "CreateStream" || e.Do["ShardCount"] != 3.0 {
		t.Errorf("last frame: %+v", e)
	}
	lines, _ = dump(t, d, rescue.DumpOptions{What: "state"})
	if len(lines) != 4 || lines[0].Stream != "a" || lines[0].Status != "ACTIVE" || len(lines[2].Shards) != 3 || lines[3].Table != "leases" || lines[3].Items != 3 {
		t.Errorf("state: %+v", lines)
	}
}
