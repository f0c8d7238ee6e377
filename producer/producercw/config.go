package producercw

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Level says which metrics are sent.
type Level int

// The KPL's levels. Its level "none" is to have no Publisher.
const (
	Detailed Level = iota
	Summary
)

// Granularity says for what metrics are sent.
type Granularity int

// The KPL's granularities: each includes those after it.
const (
	Shard  Granularity = iota // for each shard
	Stream                    // for each stream
	Global                    // for all streams together
)

// Dimension is an additional dimension of metrics.
type Dimension struct {
	Name, Value string // 1 to 255 bytes each
	// Granularity is the coarsest metrics that it is given to: with Global all have
	// it, with Shard only those of shards.
	Granularity Granularity
}

// Config holds the optional settings of a [Publisher]. The zero Config is valid: a
// field left zero takes the default that its comment names. Names are the KPL's.
type Config struct {
	// MetricsNamespace is CloudWatch's namespace of the metrics. Default
	// KinesisProducerLibrary; 1 to 255 bytes, not beginning with AWS/.
	MetricsNamespace string

	// MetricsLevel says which metrics are sent. Default Detailed.
	MetricsLevel Level

	// MetricsGranularity says for what metrics are sent. Default Shard. Each shard
	// has nine metrics, which CloudWatch bills.
	MetricsGranularity Granularity

	// MetricsUploadDelay is the time between two uploads. Default 60s; from 1s (KPL:
	// 1ms) to 60s.
	MetricsUploadDelay time.Duration

	// AdditionalMetricDims are dimensions that metrics have beside the KPL's own. At
	// most 20.
	AdditionalMetricDims []Dimension

	// Logger receives what an operator should know; nil means slog.Default().
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	c.MetricsNamespace = cmp.Or(c.MetricsNamespace, "KinesisProducerLibrary")
	c.MetricsUploadDelay = cmp.Or(c.MetricsUploadDelay, time.Minute)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	var errs []error
	if n := c.MetricsNamespace; len(n) > 255 || strings.HasPrefix(n, "AWS/") {
		errs = append(errs, fmt.Errorf("MetricsNamespace %q is longer than 255 bytes or begins with AWS/", n))
	}
	if l := c.MetricsLevel; l < Detailed || l > Summary {
		errs = append(errs, fmt.Errorf("MetricsLevel %d is none of Detailed and Summary", l))
	}
	if g := c.MetricsGranularity; g < Shard || g > Global {
		errs = append(errs, fmt.Errorf("MetricsGranularity %d is none of Shard, Stream and Global", g))
	}
	if d := c.MetricsUploadDelay; d < time.Second || d > time.Minute {
		errs = append(errs, fmt.Errorf("MetricsUploadDelay %v is outside [1s, 1m]", d))
	}
	if n := len(c.AdditionalMetricDims); n > 20 {
		errs = append(errs, fmt.Errorf("AdditionalMetricDims has %d entries, 20 are allowed", n))
	}
	for i, d := range c.AdditionalMetricDims {
		if len(d.Name) < 1 || len(d.Name) > 255 || len(d.Value) < 1 || len(d.Value) > 255 {
			errs = append(errs, fmt.Errorf("AdditionalMetricDims[%d]: name and value must have 1 to 255 bytes", i))
		}
		if d.Granularity < Shard || d.Granularity > Global {
			errs = append(errs, fmt.Errorf("granularity %d of AdditionalMetricDims[%d] is none of Shard, Stream and Global", d.Granularity, i))
		}
	}
	return c, errors.Join(errs...)
}
