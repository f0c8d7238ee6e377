package memlease_test

import (
	"testing"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/leasetest"
	"github.com/streamkit/streamkit/consumer/memlease"
)

func TestStore(t *testing.T) {
	leasetest.RunCoordination(t, func(*testing.T) consumer.CoordinationStore { return memlease.New() })
}
