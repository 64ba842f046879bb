// tally reads what `go test -json` says of the conformance suite and tells what became of each test: of all that the
// suite has, those of meshes apart, each must have passed. What a test that did not pass has said comes after it. The
// tests that are named (`tally NAME…`) are of features that a class does not claim: they must have been skipped.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/gateway-api/conformance/tests"
)

// An event is a line of `go test -json`.
type event struct {
	Action, Test, Output string
}

// The suite is one Go test, and its tests are parts of that.
const whole = "TestConformance/"

// A longer story is not read by anybody.
const longest = 200

func main() {
	ended := map[string]string{}
	said := map[string][]string{}
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var now event
		if json.Unmarshal(line, &now) != nil {
			fmt.Print(string(line))
			continue
		}
		part, isPart := strings.CutPrefix(now.Test, whole)
		name, _, inside := strings.Cut(part, "/")
		switch now.Action {
		case "output":
			if isPart {
				said[name] = append(said[name], now.Output)
			} else {
				fmt.Print(now.Output)
			}
		case "pass", "fail", "skip":
			if isPart && !inside {
				ended[name] = now.Action
			}
		}
	}
	if !tell(ended, said) {
		os.Exit(1)
	}
}

// tell prints what became of each test. Did all pass?
func tell(ended map[string]string, said map[string][]string) bool {
	var names []string
	for _, test := range tests.ConformanceTests {
		if !strings.HasPrefix(test.ShortName, "Mesh") {
			names = append(names, test.ShortName)
		}
	}
	slices.Sort(names)
	good := len(names) > 0
	for _, name := range names {
		unclaimed := slices.Contains(os.Args[1:], name)
		if ended[name] == "pass" && !unclaimed {
			fmt.Println("ok -", name)
			continue
		}
		if ended[name] == "skip" && unclaimed {
			fmt.Printf("ok - %s: was skipped, as the class does not claim it\n", name)
			continue
		}
		good = false
		how := map[string]string{"fail": "failed", "skip": "was skipped", "pass": "was not skipped"}[ended[name]]
		if how == "" {
			how = "did not end"
		}
		fmt.Printf("not ok - %s: %s\n", name, how)
		story := said[name]
		if len(story) > longest {
			fmt.Printf("    … %d lines …\n", len(story)-longest)
			story = story[len(story)-longest:]
		}
		for _, line := range story {
			fmt.Print("    ", line)
		}
	}
	return good
}
