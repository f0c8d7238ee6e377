package memlease_test

import (
	"testing"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/leasetest"
	"github.com/streamkit/streamkit/consumer/memlease"
)

func TestStore(t *testing.T) {
	leasetest.Run(t, func(*testing.T) consumer.LeaseStore { return memlease.New() })
}
