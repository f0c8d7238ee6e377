//go:build race

package aggregation_test

const raceEnabled = true
