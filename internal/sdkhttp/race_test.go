//go:build race

package sdkhttp_test

const raceEnabled = true
