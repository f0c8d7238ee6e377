package consumercw

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Level says which metrics are sent.
type Level int

// The KCL's levels. Its level NONE is to have no Publisher.
const (
	Summary Level = iota
	Detailed
)

// Dimension is the name of a dimension that can be left out.
type Dimension string

// The KCL's dimensions. Operation cannot be left out.
const (
	Operation        Dimension = "Operation"
	ShardID          Dimension = "ShardId"
	WorkerIdentifier Dimension = "WorkerIdentifier"

	// StreamID is beside ShardID where a consumer reads several streams.
	StreamID Dimension = "StreamId"
)

// dimensions are those that can be left out, and Operation.
var dimensions = []Dimension{Operation, ShardID, StreamID, WorkerIdentifier}

// Config holds the optional settings of a [Publisher]. The zero Config is valid: a
// field left zero takes the default that its comment names. Names are the KCL's.
type Config struct {
	// Namespace is CloudWatch's namespace of the metrics. Default the application's
	// name; 1 to 255 bytes, not beginning with AWS/.
	Namespace string

	// MetricsLevel says which metrics are sent. Default Summary. (KCL: Detailed.)
	MetricsLevel Level

	// MetricsEnabledDimensions are the dimensions that metrics have; without one
	// of them the metrics of all its values are one. Default all. CloudWatch
	// bills each shard's metrics, so who has many shards leaves ShardID out.
	MetricsEnabledDimensions []Dimension

	// MetricsBufferTime is the time between two uploads. Default 10s; from 1s to 60s.
	MetricsBufferTime time.Duration

	// Logger receives what an operator should know; nil means slog.Default().
	Logger *slog.Logger
}

func (c Config) withDefaults(app string) (Config, error) {
	c.Namespace = cmp.Or(c.Namespace, app)
	c.MetricsBufferTime = cmp.Or(c.MetricsBufferTime, 10*time.Second)
	if c.MetricsEnabledDimensions == nil {
		c.MetricsEnabledDimensions = dimensions
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	var errs []error
	if app == "" {
		errs = append(errs, errors.New("application must have a name"))
	}
	if n := c.Namespace; len(n) > 255 || strings.HasPrefix(n, "AWS/") {
		errs = append(errs, fmt.Errorf("namespace %q is longer than 255 bytes or begins with AWS/; set Namespace", n))
	}
	if l := c.MetricsLevel; l < Summary || l > Detailed {
		errs = append(errs, fmt.Errorf("MetricsLevel %d is none of Summary and Detailed", l))
	}
	for _, d := range c.MetricsEnabledDimensions {
		if !slices.Contains(dimensions, d) {
			errs = append(errs, fmt.Errorf("MetricsEnabledDimensions has %q, which is none of Operation, ShardId, StreamId and WorkerIdentifier", d))
		}
	}
	if d := c.MetricsBufferTime; d < time.Second || d > time.Minute {
		errs = append(errs, fmt.Errorf("MetricsBufferTime %v is outside [1s, 1m]", d))
	}
	return c, errors.Join(errs...)
}
