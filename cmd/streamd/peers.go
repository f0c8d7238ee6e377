package main

import (
	"log/slog"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// Variables of other emulators, so that an environment made for one of them
// starts streamd as it is. Flags, variables STREAMD_… and the config file win.
//
// Sources: the README of kinesis-mock, the configuration of LocalStack, the
// help of ferrokinesis.

// peerShards is how many shards kinesis-mock gives a stream whose number is
// left out.
const peerShards = "4"

// initialStreams returns the streams that INITIALIZE_STREAMS of kinesis-mock,
// or what LocalStack passes on to it, asks for, as --create has them.
func initialStreams(env func(string) (string, bool)) string {
	list, ok := env("INITIALIZE_STREAMS")
	if !ok {
		list, _ = env("KINESIS_INITIALIZE_STREAMS")
	}
	region, _ := env("AWS_REGION")
	var items []string
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		parts := strings.Split(item, ":")
		if len(parts) == 1 {
			parts = append(parts, "")
		}
		if parts[1] == "" {
			parts[1] = peerShards
		}
		if len(parts) == 2 && region != "" {
			parts = append(parts, region)
		}
		items = append(items, strings.Join(parts, ":"))
	}
	return strings.Join(items, ",")
}

// fillPeers sets flags that nothing of our own has set from variables of other
// emulators. What cannot be understood is left alone: it was not written for
// streamd.
func fillPeers(cmd *cobra.Command, env func(string) (string, bool)) {
	flags := cmd.Flags()
	if level, ok := env("LOG_LEVEL"); ok && !flags.Changed("log-level") {
		if strings.EqualFold(level, "trace") {
			level = "debug"
		}
		var known slog.Level
		if known.UnmarshalText([]byte(level)) == nil {
			_ = flags.Set("log-level", level) // it is a level
		}
	}
	if flags.Changed("data") || flags.Changed("memory") {
		return
	}
	text, _ := env("SHOULD_PERSIST_DATA")
	persist, err := strconv.ParseBool(text)
	if err != nil {
		return
	}
	if dir, _ := env("PERSIST_PATH"); persist && dir != "" {
		_ = flags.Set("data", dir) // any text will do
	}
	if !persist {
		_ = flags.Set("memory", "true") // it is a boolean
	}
}

// unsupported are variables of other emulators that streamd does not obey, and
// what to do in place of them.
var unsupported = []struct{ name, instead string }{
	{"KINESIS_MOCK_PLAIN_PORT", "--listen: one port serves plain connections and TLS"},
	{"KINESIS_MOCK_TLS_PORT", "--listen: one port serves plain connections and TLS"},
	{"CREATE_STREAM_DURATION", "--transition-delay"},
	{"DELETE_STREAM_DURATION", "--transition-delay"},
	{"REGISTER_STREAM_CONSUMER_DURATION", "--transition-delay"},
	{"DEREGISTER_STREAM_CONSUMER_DURATION", "--transition-delay"},
	{"START_STREAM_ENCRYPTION_DURATION", "--transition-delay"},
	{"STOP_STREAM_ENCRYPTION_DURATION", "--transition-delay"},
	{"MERGE_SHARDS_DURATION", "--transition-delay"},
	{"SPLIT_SHARD_DURATION", "--transition-delay"},
	{"UPDATE_SHARD_COUNT_DURATION", "--transition-delay"},
	{"UPDATE_STREAM_MODE_DURATION", "--transition-delay"},
	{"SHARD_LIMIT", "--limits=aws has the quotas of AWS"},
	{"ON_DEMAND_STREAM_COUNT_LIMIT", "--limits=aws has the quotas of AWS"},
	{"ROOT_LOG_LEVEL", "--log-level"},
	{"LOAD_DATA_IF_EXISTS", "--data: what is there is loaded"},
	{"PERSIST_FILE_NAME", "--data: it is a directory"},
	{"PERSIST_INTERVAL", "--fsync"},
	{"KINESIS_ERROR_PROBABILITY", "--faults"},
	{"KINESIS_LATENCY", "--faults"},
	{"KINESIS_SHARD_LIMIT", "--limits=aws has the quotas of AWS"},
	{"KINESIS_ON_DEMAND_STREAM_COUNT_LIMIT", "--limits=aws has the quotas of AWS"},
	{"FERROKINESIS_PORT", "--listen"},
	{"FERROKINESIS_CONFIG", "--config"},
	{"FERROKINESIS_CREATE_STREAM_MS", "--transition-delay"},
	{"FERROKINESIS_DELETE_STREAM_MS", "--transition-delay"},
	{"FERROKINESIS_UPDATE_STREAM_MS", "--transition-delay"},
	{"FERROKINESIS_SHARD_LIMIT", "--limits=aws has the quotas of AWS"},
	{"FERROKINESIS_ITERATOR_TTL_SECONDS", ""},
	{"FERROKINESIS_MAX_REQUEST_BODY_MB", ""},
	{"FERROKINESIS_RETENTION_CHECK_INTERVAL_SECS", ""},
}

// warnPeers says once which variables of other emulators are not obeyed.
func warnPeers(log *slog.Logger, env func(string) (string, bool)) {
	var seen []any
	for _, v := range unsupported {
		if _, ok := env(v.name); !ok {
			continue
		}
		instead := v.instead
		if instead == "" {
			instead = "nothing"
		}
		seen = append(seen, slog.String(v.name, instead))
	}
	if len(seen) > 0 {
		log.Warn("variables of another emulator are not obeyed; beside each is what to use in its place", slog.Group("instead", seen...))
	}
}
