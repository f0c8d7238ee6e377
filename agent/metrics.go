package agent

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// A metric is one line of what a collector exports.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*FlowStatus) float64
}

// NewCollector returns a collector over [Agent.Status]. All its metrics begin with
// streamagent_ and carry the label flow; no label names a file.
func NewCollector(a *Agent) prometheus.Collector {
	c := &collector{agent: a}
	add := func(name, help string, kind prometheus.ValueType, value func(*FlowStatus) float64) {
		c.metrics = append(c.metrics, metric{prometheus.NewDesc("streamagent_"+name, help, []string{"flow"}, nil), kind, value})
	}
	counter := func(name, help string, value func(*FlowStatus) uint64) {
		add(name, help, prometheus.CounterValue, func(s *FlowStatus) float64 { return float64(value(s)) })
	}
	counter("read_bytes_total", "Bytes cut into records, or skipped with a cause.", func(s *FlowStatus) uint64 { return s.ReadBytes })
	counter("memory_stalls_total", "Reads that waited for memory.", func(s *FlowStatus) uint64 { return s.MemoryStalls })
	counter("refused_batches_total", "Batches that the stream refused at least in part.", func(s *FlowStatus) uint64 { return s.RefusedBatches })
	gauge := func(name, help string, value func(*FlowStatus) float64) {
		add(name, help, prometheus.GaugeValue, value)
	}
	gauge("open_files", "Open files.", func(s *FlowStatus) float64 { return float64(s.OpenFiles) })
	gauge("files_tracked", "Files of the flow.", func(s *FlowStatus) float64 { return float64(len(s.Files)) })
	gauge("behind_bytes", "Bytes of all files that are not acknowledged.", func(s *FlowStatus) float64 { return float64(s.BehindBytes) })
	gauge("budget_used_bytes", "Memory of records that are not acknowledged.", func(s *FlowStatus) float64 { return float64(s.MemoryBytes) })
	gauge("consecutive_errors", "Batches refused in a row.", func(s *FlowStatus) float64 { return float64(s.ConsecutiveErrors) })
	counter("watch_overflows_total", "Times that file events were lost; a scan follows.", func(s *FlowStatus) uint64 { return s.WatchOverflows })
	add("backpressure_seconds_total", "Time that reading waited for memory or for the producer.", prometheus.CounterValue,
		func(s *FlowStatus) float64 { return s.Backpressure })
	gauge("behind_files", "Files with bytes that are not acknowledged.", func(s *FlowStatus) float64 { return float64(s.BehindFiles) })
	gauge("oldest_unacked_seconds", "Time that the oldest unacknowledged records have waited.", func(s *FlowStatus) float64 { return s.OldestUnacked })
	gauge("protected_files", "Files that have a second name until they are delivered.", func(s *FlowStatus) float64 { return float64(s.Protected) })
	counter("unprotected_files_total", "Files that could not have a second name, or not keep it.", func(s *FlowStatus) uint64 { return s.Unprotected })
	counter("deleted_files_total", "Files deleted after they were delivered.", func(s *FlowStatus) uint64 { return s.DeletedFiles })
	counter("acked_bytes_total", "Data of acknowledged records.", func(s *FlowStatus) uint64 { return s.AckedBytes })
	counter("record_failures_total", "Records that failed, counted each time; they are sent again.", func(s *FlowStatus) uint64 { return s.RecordFailures })
	gauge("blocked", "1 while the stream refuses records.", func(s *FlowStatus) float64 {
		if s.State == "blocked" {
			return 1
		}
		return 0
	})
	gauge("last_progress_timestamp_seconds", "Time of the last acknowledgement.", func(s *FlowStatus) float64 {
		return float64(s.LastProgress.UnixMilli()) / 1000
	})
	c.records = prometheus.NewDesc("streamagent_records_total", "Records by what became of them.", []string{"flow", "result"}, nil)
	c.lost = prometheus.NewDesc("streamagent_lost_bytes_total", "Bytes of files that were not delivered, by reason.", []string{"flow", "reason"}, nil)
	c.rotations = prometheus.NewDesc("streamagent_rotations_total", "Rotations seen, by kind.", []string{"flow", "kind"}, nil)
	c.troubles = prometheus.NewDesc("streamagent_troubles_total", "Looks at a file or directory that failed, by reason.", []string{"flow", "reason"}, nil)
	c.options = prometheus.NewDesc("streamagent_option_records_total", "Records by what an option made of them.",
		[]string{"flow", "position", "option", "result"}, nil)
	c.ack = prometheus.NewDesc("streamagent_read_to_ack_seconds", "Time from the reading of records to their acknowledgement.", []string{"flow"}, nil)
	c.scan = prometheus.NewDesc("streamagent_scan_seconds", "Time of a scan of the flow's directories.", []string{"flow"}, nil)
	c.watch = prometheus.NewDesc("streamagent_watch_mode", "Directories by how changes in them are noticed.", []string{"flow", "mode"}, nil)
	c.persist = prometheus.NewDesc("streamagent_checkpoint_persist_seconds", "Time that storing changed positions takes.", nil, nil)
	c.stored = prometheus.NewDesc("streamagent_checkpoint_success", "0 if the positions could not be stored the last time.", nil, nil)
	c.unstored = prometheus.NewDesc("streamagent_checkpoint_failures_total", "Times that the positions could not be stored.", nil, nil)
	c.state = prometheus.NewDesc("streamagent_flow_state", "1 for the state that the flow is in.", []string{"flow", "state"}, nil)
	c.reload = prometheus.NewDesc("streamagent_config_reload_success", "0 if the last change of the configuration was not taken.", nil, nil)
	c.age = prometheus.NewDesc("streamagent_checkpoint_age_seconds", "Time since all positions were durable.", nil, nil)
	return c
}

type collector struct {
	agent                                  *Agent
	metrics                                []metric
	records, lost, rotations, options, age *prometheus.Desc
	ack, state, reload, scan, watch        *prometheus.Desc
	persist, stored, unstored, troubles    *prometheus.Desc
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		ch <- m.desc
	}
	for _, d := range []*prometheus.Desc{
		c.records, c.lost, c.rotations, c.options, c.age, c.ack, c.state, c.reload, c.scan, c.watch, c.persist, c.stored, c.unstored, c.troubles,
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	status := c.agent.Status()
	ch <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, status.CheckpointAge)
	ch <- prometheus.MustNewConstMetric(c.reload, prometheus.GaugeValue, flag(status.ConfigError == ""))
	ch <- prometheus.MustNewConstMetric(c.stored, prometheus.GaugeValue, flag(status.CheckpointError == ""))
	ch <- prometheus.MustNewConstMetric(c.unstored, prometheus.CounterValue, float64(status.CheckpointFailures))
	persist := &status.CheckpointPersist
	ch <- prometheus.MustNewConstHistogram(c.persist, persist.Count, persist.Sum, persist.Counts)
	for i := range status.Flows {
		s := &status.Flows[i]
		for _, m := range c.metrics {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(s), s.ID)
		}
		for result, n := range map[string]uint64{
			"sent": s.AckedRecords, "filtered": s.FilteredRecords, "parse_failed": s.UnparsedRecords, "oversize": s.OversizeRecords,
			"dead_letter": s.DeadLetters, "expired": s.ExpiredRecords,
		} {
			ch <- prometheus.MustNewConstMetric(c.records, prometheus.CounterValue, float64(n), s.ID, result)
		}
		ch <- prometheus.MustNewConstHistogram(c.ack, s.ReadToAck.Count, s.ReadToAck.Sum, s.ReadToAck.Counts, s.ID)
		ch <- prometheus.MustNewConstSummary(c.scan, s.Scans, s.ScanSeconds, nil, s.ID)
		for i, n := range []int64{s.WatchedDirs, s.PolledDirs} {
			ch <- prometheus.MustNewConstMetric(c.watch, prometheus.GaugeValue, float64(n), s.ID, watchModes[i])
		}
		for _, state := range flowStates {
			ch <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, flag(state == s.State), s.ID, state)
		}
		for reason, n := range s.LostBytes {
			ch <- prometheus.MustNewConstMetric(c.lost, prometheus.CounterValue, float64(n), s.ID, reason)
		}
		for reason, n := range s.TroublesBy {
			ch <- prometheus.MustNewConstMetric(c.troubles, prometheus.CounterValue, float64(n), s.ID, reason)
		}
		for i, o := range s.Options {
			for result, n := range map[string]uint64{"converted": o.Out, "skipped": o.Skipped, "failed": o.Failed} {
				ch <- prometheus.MustNewConstMetric(c.options, prometheus.CounterValue, float64(n), s.ID, strconv.Itoa(i), o.Option, result)
			}
		}
		for kind, n := range s.Rotations {
			ch <- prometheus.MustNewConstMetric(c.rotations, prometheus.CounterValue, float64(n), s.ID, kind)
		}
	}
}
