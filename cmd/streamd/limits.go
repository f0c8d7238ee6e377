package main

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// limitsOf writes the map of limits in a config file as the flag has them:
//
//	limits:
//	  profile: aws:0.5
//	  shards: 100
//	  streams:
//	    - name: orders-*
//	      write-records: 10
//	    - name: logs
//	      profile: off
func limitsOf(node *yaml.Node) (string, error) {
	var streams []string
	list, err := limitList(node, func(key string, value *yaml.Node) (bool, error) {
		if key != "streams" {
			return false, nil
		}
		if value.Kind != yaml.SequenceNode {
			return true, fmt.Errorf("streams must be a list; write - name: orders, and its rates below")
		}
		for _, item := range value.Content {
			stream, err := streamLimitsOf(item)
			if err != nil {
				return true, err
			}
			streams = append(streams, stream)
		}
		return true, nil
	})
	return strings.Join(append([]string{list}, streams...), ";"), err
}

func streamLimitsOf(node *yaml.Node) (string, error) {
	name := ""
	list, err := limitList(node, func(key string, value *yaml.Node) (bool, error) {
		if key == "name" {
			name = value.Value
		}
		return key == "name", nil
	})
	switch {
	case err != nil:
		return "", err
	case name == "":
		return "", errors.New("an item of streams has no name; write - name: orders, and its rates below")
	case strings.ContainsAny(name, ":;"):
		return "", fmt.Errorf("%q is not the name of a stream, or a pattern such as orders-*", name)
	case list == "":
		return "", fmt.Errorf("stream %s has no limits; write profile: off if it is to have none", name)
	}
	return name + ":" + list, nil
}

// limitList writes a map of limits, its profile first. special is asked about
// each key whether it has taken it.
func limitList(node *yaml.Node, special func(key string, value *yaml.Node) (taken bool, err error)) (string, error) {
	if node.Kind != yaml.MappingNode {
		return "", fmt.Errorf("%q is not a map of limits; write write-records: 100", node.Value)
	}
	var items []string
	profile := ""
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i].Value, node.Content[i+1]
		taken, err := special(key, value)
		switch {
		case err != nil:
			return "", err
		case taken:
		case value.Kind != yaml.ScalarNode:
			return "", fmt.Errorf("%s must be a value; write %s: 100", key, key)
		case key == "profile":
			profile = value.Value
		default:
			items = append(items, key+"="+value.Value)
		}
	}
	if profile != "" {
		items = append([]string{profile}, items...)
	}
	return strings.Join(items, ","), nil
}
