package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

// Service is a program that has something to log: each line of its input. It
// knows nothing of streams; where its entries go is the logger's business.
type Service struct {
	In   io.Reader
	Log  *zap.Logger
	Stay bool // after the end of the input, log something every second

	// Stats, if not nil, is written to StatsPath from time to time.
	Stats     func() ServiceStats
	StatsPath string
}

// Run logs until the input ends, and with Stay until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	lines := make(chan error, 1) // the reader must not wait at its end
	go func() { lines <- s.logLines() }()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	beats := beat.C
	var n int
	for {
		select {
		case <-ctx.Done():
			// The reader may hang in a read; the process is about to end.
			return s.writeStats()
		case err := <-lines:
			if err != nil || !s.Stay {
				return errors.Join(err, s.writeStats())
			}
			lines = nil
		case <-tick.C:
			if err := s.writeStats(); err != nil {
				return err
			}
		case <-beats:
			if s.Stay && lines == nil {
				n++
				s.Log.Info("still here", zap.Int("beat", n))
			}
		}
	}
}

func (s *Service) logLines() error {
	r := bufio.NewReaderSize(s.In, 256<<10)
	for {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil // a line without an end was not handed over
		}
		if err != nil {
			return err
		}
		s.Log.Info(line[:len(line)-1])
	}
}

// writeStats replaces the file, so that a reader never sees half of it.
func (s *Service) writeStats() error {
	if s.Stats == nil || s.StatsPath == "" {
		return nil
	}
	data, err := json.Marshal(s.Stats())
	if err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(s.StatsPath), fmt.Sprintf(".%s.new", filepath.Base(s.StatsPath)))
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, s.StatsPath)
}

// ParseRecord reads the line in a record: a line as the agent sends it, or the
// message of a JSON log entry.
func ParseRecord(data []byte) (Delivery, bool) {
	if len(data) > 0 && data[0] == '{' {
		var entry struct {
			Msg string `json:"msg"`
		}
		if json.Unmarshal(data, &entry) == nil && entry.Msg != "" {
			return ParseLine([]byte(entry.Msg))
		}
	}
	return ParseLine(data)
}
