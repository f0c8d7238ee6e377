package scenario

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Setup is what scenarios run with.
type Setup struct {
	// Streamd is the server's binary.
	Streamd string
	// Java is the directory of the programs in Java, built with Maven.
	Java string
	// Work is an empty directory, for data, captures and logs.
	Work string
	// Capture has each server note its requests in Work.
	Capture bool
	// Heap bounds the memory of each program in Java, such as 256m. Empty means
	// 320m.
	Heap string
}

// A Scenario is one play.
type Scenario struct {
	Name, What string
	run        func(ctx context.Context, p *play) error
}

// All returns the scenarios in the order in which they are best run.
func All() []Scenario {
	return slices.Concat(kplScenarios, kclScenarios, sdkScenarios, pairScenarios,
		producerScenarios, fleetScenarios, upgradeScenarios, localScenarios)
}

// Find returns the scenario of that name.
func Find(name string) (Scenario, error) {
	var names []string
	for _, s := range All() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Scenario{}, fmt.Errorf("no scenario is called %s; there are %s", name, strings.Join(names, ", "))
}

// Run plays s. Logs of the programs go to log and into the work directory. The
// error says why the scenario could not be played to its end; what it found is
// in the report.
func (s Scenario) Run(ctx context.Context, set Setup, report *Report, log io.Writer) error {
	dir := filepath.Join(set.Work, s.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// Programs are started in directories of their own.
	for _, p := range []*string{&dir, &set.Streamd, &set.Java} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &play{set: set, dir: dir, report: report, log: log}
	defer p.end()
	return s.run(ctx, p)
}
