//go:build !race

package aggregation_test

const raceEnabled = false
