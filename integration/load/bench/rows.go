package bench

import (
	"time"

	"github.com/streamkit/streamkit/integration/load/gen"
	"github.com/streamkit/streamkit/producer"
)

// A Row is one line of the table: a load, the server that it is put on, what
// that is compared with, and how well it should go.
type Row struct {
	Name   string // what -rows selects by
	Title  string
	Load   gen.Load
	Server Server
	// Cap, if not nil, is measured in turns with Server, and its Share is what
	// Target.Share is about.
	Cap    *Server
	Limits []Limit // measured after Server in each round
	Target Target
	Long   bool // takes minutes: measured only if asked for
	// Least is how long a measurement takes at least, whatever Config.Duration says: of
	// what uses so little CPU time that it would not be seen.
	Least time.Duration
}

// A Limit is what the machine gives, or a part of streamd alone: the row is said
// as a share of it too.
type Limit struct {
	Name string
	Load gen.Load // starts no server, or one as the row has it
	// Share is how much of it the row should reach. 0 is no demand.
	Share float64
}

// A Server says what is started.
type Server struct {
	Null    bool // the null server, not streamd
	Durable bool // streamd on disk, not in memory
	Shards  int
}

// A Target is how well a row should go. Zero is no demand.
type Target struct {
	Share float64 // of the cap, at least
	Rate  float64 // records a second, at least
	CPU   time.Duration
	// At, if not nil, is where Rate and CPU were set: they are demanded in units of
	// what the null server does here, as a faster machine says nothing of streamd.
	At       *Yardstick
	P50, P99 time.Duration
	Start    time.Duration
	RSS      int64   // bytes
	Busy     float64 // share of one CPU
}

// A Yardstick is what the null server needed on some machine for the calls of
// yardstick.
type Yardstick struct {
	CPU  time.Duration // for each
	Rate float64       // a second
}

const mb = 1 << 20

var null = &Server{Null: true, Shards: 4}

var (
	durable = Server{Durable: true, Shards: 4}
	memory  = Server{Shards: 4}
)

// callers is the number of callers of the rows that put.
const callers = 8

// yardstick is put on the null server beside the rows whose Target has At.
var yardstick = gen.Puts{Client: gen.Raw, Callers: callers, Batch: 1, Size: 1000}

// reference is the machine on which the demands on streamd were set.
var reference = &Yardstick{CPU: 18600 * time.Nanosecond, Rate: 40_000}

// Limits of the rows about the disk.
const (
	syncedBlock  = 4096
	syncedStream = 1 << 20  // of a write that is durable before the next
	stored       = 64 << 20 // by what a checkpoint moves, or is read
)

// bare is the limit of puts that a journal alone is.
func bare(batch, size int) Limit {
	return Limit{Name: "bare journal, as many callers", Load: gen.BareJournal{Callers: callers, Batch: batch, Size: size}}
}

// grouped is the limit of puts that the disk sets if one sync is for all callers.
func grouped(batch, size int) Limit {
	records := callers * batch
	return Limit{Name: "write and fdatasync of what all callers put", Load: gen.Overwrite{Size: records * (size + gen.KeySize), Records: records}}
}

// twice is grouped for who writes everything a second time to where it stays.
func twice(batch, size int) Limit {
	l := grouped(batch, size)
	o := l.Load.(gen.Overwrite)
	o.Twice = true
	return Limit{Name: l.Name + ", and the same to new files", Load: o}
}

var (
	single    = Limit{Name: "write and fdatasync of 4 KiB for each call", Load: gen.Overwrite{Size: syncedBlock, Records: 1}}
	streaming = Limit{Name: "overwriting, fdatasync each 1 MiB", Load: gen.Overwrite{Size: syncedStream}}
	writing   = Limit{Name: "new files of 64 MiB, fdatasync", Load: gen.WriteFiles{Bytes: stored}}
	reading   = Limit{Name: "reading a file of 64 MiB, cached", Load: gen.ReadFile{Bytes: stored}}
)

// floorOf is the limit of rows of the producer: the same work by hand.
func floorOf(cbor bool, size int) Limit {
	return Limit{Name: "aggregation, MD5, encoding and hash by hand, plain connections", Load: gen.ProducerFloor{CBOR: cbor, Size: size, Keys: 1000}}
}

// demanding returns a limit with a demand.
func (l Limit) demanding(share float64) Limit {
	l.Share = share
	return l
}

// Rows are what `make bench` prints. A row without demands is there to compare
// with.
var Rows = append([]Row{
	{
		Name: "put500-sdk", Title: "PutRecords 500x200 B, SDK, fsynced",
		Load: gen.Puts{Client: gen.SDK, Callers: callers, Batch: 500, Size: 200}, Server: durable, Cap: null,
		Target: Target{Share: 0.45, CPU: 1200 * time.Nanosecond, At: reference},
	},
	{
		Name: "put500-sdk-memory", Title: "PutRecords 500x200 B, SDK, in memory",
		Load: gen.Puts{Client: gen.SDK, Callers: callers, Batch: 500, Size: 200}, Server: memory, Cap: null,
	},
	{
		Name: "put500-raw", Title: "PutRecords 500x200 B, raw, fsynced",
		Load: gen.Puts{Client: gen.Raw, Callers: callers, Batch: 500, Size: 200}, Server: durable, Cap: null,
		Limits: []Limit{grouped(500, 200), twice(500, 200)},
		Target: Target{Share: 0.35},
	},
	{
		Name: "put500-raw-memory", Title: "PutRecords 500x200 B, raw, in memory",
		Load: gen.Puts{Client: gen.Raw, Callers: callers, Batch: 500, Size: 200}, Server: memory, Cap: null,
	},
	{
		Name: "put500-cbor", Title: "PutRecords 500x200 B, raw CBOR, fsynced",
		Load: gen.Puts{Client: gen.RawCBOR, Callers: callers, Batch: 500, Size: 200}, Server: durable, Cap: null,
	},
	{
		Name: "put500x1k-raw", Title: "PutRecords 500x1 KB, raw, fsynced",
		Load: gen.Puts{Client: gen.Raw, Callers: callers, Batch: 500, Size: 1000}, Server: durable, Cap: null,
		Limits: []Limit{bare(500, 1000).demanding(0.50), grouped(500, 1000), twice(500, 1000), streaming},
		Target: Target{CPU: 4 * time.Microsecond},
	},
	{
		Name: "put100-sdk", Title: "PutRecords 100x1 KB, SDK, fsynced",
		Load: gen.Puts{Client: gen.SDK, Callers: callers, Batch: 100, Size: 1000}, Server: durable, Cap: null,
		Target: Target{Share: 0.50},
	},
	{
		Name: "put1-raw", Title: "PutRecord 1 KB, raw, fsynced",
		Load: yardstick, Server: durable, Cap: null,
		Limits: []Limit{bare(1, 1000), grouped(1, 1000), single},
		Target: Target{Share: 0.50, CPU: 45 * time.Microsecond, At: reference, P50: 800 * time.Microsecond, P99: 6 * time.Millisecond},
	},
	{
		Name: "put1-raw-memory", Title: "PutRecord 1 KB, raw, in memory",
		Load: gen.Puts{Client: gen.Raw, Callers: callers, Batch: 1, Size: 1000}, Server: memory, Cap: null,
	},
	{
		Name: "shards", Title: "16 shards (ours) against 4 (cap), 500x200 B, raw, fsynced",
		Load:   gen.Puts{Client: gen.Raw, Callers: callers, Batch: 500, Size: 200},
		Server: Server{Durable: true, Shards: 16}, Cap: &durable,
		Target: Target{Share: 0.95},
	},
	{
		Name: "shards-10k-put", Title: "10,000 shards (ours) against 4 (cap), 500x200 B, raw, fsynced",
		Load:   gen.Puts{Client: gen.Raw, Callers: callers, Batch: 500, Size: 200},
		Server: Server{Durable: true, Shards: 10_000}, Cap: &durable,
		Limits: []Limit{bare(500, 200)},
		Target: Target{Share: 0.60},
	},
	{
		Name: "producer-json", Title: "producer, 100 B keyed, JSON, null server",
		Load: gen.Producer{Callers: 2, Size: 100, Keys: 1000}, Server: *null,
		Limits: []Limit{floorOf(false, 100).demanding(0.5)},
		Target: Target{Rate: 2_400_000},
	},
	{
		Name: "producer-cbor", Title: "producer, 100 B keyed, CBOR, null server",
		Load: gen.Producer{Encoding: producer.EncodingCBOR, Callers: 2, Size: 100, Keys: 1000}, Server: *null,
		Limits: []Limit{floorOf(true, 100).demanding(0.5)},
		Target: Target{Rate: 3_000_000},
	},
	{
		Name: "producer-keyless", Title: "producer, 100 B keyless, CBOR, null server",
		Load: gen.Producer{Encoding: producer.EncodingCBOR, Callers: 2, Size: 100}, Server: *null,
	},
	{
		Name: "producer-hotkey", Title: "producer, 100 B of one key, CBOR, null server",
		Load: gen.Producer{Encoding: producer.EncodingCBOR, Callers: 2, Size: 100, Keys: 1}, Server: *null,
	},
	{
		Name: "producer-1k", Title: "producer, 1 KB keyed, CBOR, null server",
		Load: gen.Producer{Encoding: producer.EncodingCBOR, Callers: 2, Size: 1000, Keys: 1000}, Server: *null,
		Limits: []Limit{floorOf(true, 1000)},
	},
	{
		Name: "producer-streamd", Title: "producer, 100 B keyed, CBOR, fsynced",
		Load: gen.Producer{Encoding: producer.EncodingCBOR, Callers: 2, Size: 100, Keys: 1000}, Server: durable, Cap: null,
	},
	{
		Name: "producer-streamd-json", Title: "producer, 100 B keyed, JSON, fsynced",
		Load: gen.Producer{Callers: 2, Size: 100, Keys: 1000}, Server: durable, Cap: null,
	},
	{
		Name: "get-sdk", Title: "GetRecords catch-up 200 B, SDK",
		Load: gen.Gets{Client: gen.SDK, Records: 400_000}, Server: durable, Cap: null,
		Target: Target{Share: 0.67},
	},
	{
		Name: "get-raw", Title: "GetRecords catch-up 200 B, raw",
		Load: gen.Gets{Client: gen.Raw, Records: 400_000}, Server: durable, Cap: null,
		Limits: []Limit{reading},
	},
	{
		Name: "consumer", Title: "consumer, catch-up 200 B, default settings",
		Load: gen.Consumer{Records: 400_000}, Server: durable,
		Limits: []Limit{{Name: "GetRecords with the SDK, bare", Load: gen.Gets{Client: gen.SDK, Records: 400_000}, Share: 0.67}},
	},
	{
		Name: "fanout-delay", Title: "put -> SubscribeToShard delay",
		Load: gen.Delay{Pause: 2 * time.Millisecond}, Server: durable, Cap: null,
		Target: Target{P50: time.Millisecond, P99: 5 * time.Millisecond},
	},
	{
		Name: "fanout-sdk", Title: "fan-out to 4 subscribers, SDK, all together",
		Load: gen.FanOut{Client: gen.SDK, Subscribers: 4}, Server: durable,
		Target: Target{Rate: 300_000},
	},
	{
		Name: "fanout-raw", Title: "fan-out to 4 subscribers, raw, all together",
		Load: gen.FanOut{Client: gen.Raw, Subscribers: 4}, Server: durable,
		Target: Target{Rate: 300_000},
	},
	{
		Name: "leases", Title: "conditional UpdateItem, 4 callers, raw, fsynced",
		Load: gen.Leases{Callers: 4}, Server: durable, Cap: null,
		Target: Target{Rate: 8000, P99: 4 * time.Millisecond, CPU: 70 * time.Microsecond, At: reference},
	},
	{
		Name: "start-empty", Title: "start, empty",
		Load: gen.Start{}, Server: durable,
		Target: Target{Start: 30 * time.Millisecond},
	},
	{
		Name: "start-1m", Title: "start, 1 M records, after a clean end",
		Load: gen.Start{Records: 1_000_000}, Server: durable,
		Target: Target{Start: time.Second},
	},
	{
		Name: "start-1m-killed", Title: "start, 1 M records, after a kill",
		Load: gen.Start{Records: 1_000_000, Kill: true}, Server: durable,
		Target: Target{Start: time.Second},
	},
	{
		Name: "recovery", Title: "recovery of 400,000 records of 200 B in the journal, after a kill",
		Load: gen.Recovery{Records: 400_000}, Server: durable,
		Limits: []Limit{reading, writing},
	},
	{
		Name: "checkpoint", Title: "checkpoint of 64 MB of records of 1 KB",
		Load: gen.Checkpoints{Bytes: stored, Size: 1000}, Server: durable,
		Limits: []Limit{writing},
	},
	{
		Name: "rss-idle", Title: "RSS idle",
		Load: gen.Idle{}, Server: durable,
		Target: Target{RSS: 20 * mb},
	},
	{
		Name: "rss-1m", Title: "RSS after 1 M records of 200 B",
		Load: gen.Idle{Records: 1_000_000}, Server: durable,
		Target: Target{RSS: 80 * mb},
	},
	{
		Name: "rss-10m", Title: "RSS after 10 M records of 200 B",
		Load: gen.Idle{Records: 10_000_000}, Server: durable, Long: true,
		Target: Target{RSS: 80 * mb},
	},
	{
		Name: "put-10m", Title: "put rate after 10 M records, as 500x200 B, raw, fsynced",
		Load: gen.Puts{Client: gen.Raw, Callers: callers, Batch: 500, Size: 200, Before: 10_000_000}, Server: durable, Long: true,
	},
	{
		Name: "shards-10k", Title: "10,000 shards idle",
		Load: gen.Idle{Shards: 10_000}, Server: durable,
		Target: Target{RSS: 200 * mb, Busy: 0.01},
	},
}, agentRows()...)

// Starts reports whether the row is about what it must start itself, so that it
// cannot be measured on a running server.
func (r Row) Starts() bool {
	switch r.Load.(type) {
	case gen.Start, gen.Recovery, gen.Checkpoints, gen.Idle:
		return true
	}
	return false
}
