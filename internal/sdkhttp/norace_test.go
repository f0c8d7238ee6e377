//go:build !race

package sdkhttp_test

const raceEnabled = false
