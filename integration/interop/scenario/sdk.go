package scenario

// sdkScenarios are programs that need nothing but a server.
var sdkScenarios []Scenario
