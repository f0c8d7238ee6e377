package producer_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// exampleT lets an example use streamdtest, which belongs to a test.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (t *exampleT) Helper()                    {}
func (t *exampleT) Cleanup(f func())           { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Context() context.Context   { return context.Background() }
func (t *exampleT) Fatal(args ...any)          { panic(fmt.Sprint(args...)) }
func (t *exampleT) Fatalf(f string, a ...any)  { panic(fmt.Sprintf(f, a...)) }
func (t *exampleT) Errorf(f string, a ...any)  { panic(fmt.Sprintf(f, a...)) }
func (t *exampleT) Error(args ...any)          { panic(fmt.Sprint(args...)) }
func (t *exampleT) Log(args ...any)            {}
func (t *exampleT) Logf(f string, args ...any) {}

func (t *exampleT) end() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}
