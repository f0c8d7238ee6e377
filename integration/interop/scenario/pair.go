package scenario

// pairScenarios have the official producer and the official consumer together.
var pairScenarios []Scenario
