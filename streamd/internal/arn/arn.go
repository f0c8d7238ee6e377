// Package arn names the resources of one account and region.
package arn

import "strings"

// Scope is the account and region that a request belongs to. Streams and
// tables of different scopes do not see each other.
type Scope struct {
	Account string // 12 digits
	Region  string
}

// Stream returns the Amazon resource name of a stream.
func (s Scope) Stream(name string) string { return s.resource("kinesis", "stream/"+name) }

// Channel returns the Amazon resource name of a stream's channel, which has its
// id.
func (s Scope) Channel(id string) string { return s.resource("kinesis", "channel/"+id) }

// Table returns the Amazon resource name of a table.
func (s Scope) Table(name string) string { return s.resource("dynamodb", "table/"+name) }

func (s Scope) resource(service, name string) string {
	return "arn:" + partition(s.Region) + ":" + service + ":" + s.Region + ":" + s.Account + ":" + name
}

// partition returns the part of AWS that a region lies in.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}
