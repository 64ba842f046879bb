package main

import (
	"bufio"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAnImageIsFoundByItsTagFirst(t *testing.T) {
	known := images{{Image: "host:5000/a/b", Program: "any"}, {Image: "host:5000/a/b:v2", Program: "v2"}}
	for name, program := range map[string]string{
		"host:5000/a/b": "any", "host:5000/a/b:v1": "any", "host:5000/a/b:v2": "v2",
		"host:5000/a/b@sha256:00": "any", "host:5000/a": "", "a/b": "",
	} {
		if found, _ := known.find(name); found.Program != program {
			t.Errorf("%s is %q, not %q", name, found.Program, program)
		}
	}
}

func TestVariablesAreExpandedAsTheAPIHasIt(t *testing.T) {
	e := environment{"A": "1", "B.c": "$(A)"}
	for text, expected := range map[string]string{
		"$(A)$(A)": "11", "$$(A)": "$(A)", "$(absent)": "$(absent)", "$A": "$A", "$(B.c)": "$(A)", "a$": "a$",
	} {
		if found := e.expand(text); found != expected {
			t.Errorf("%s becomes %s, not %s", text, found, expected)
		}
	}
}

func TestALogIsReadFromATimeAndFromItsEnd(t *testing.T) {
	text := "2026-01-01T00:00:01Z one\n2026-01-01T00:00:02.5Z two\n2026-01-01T00:00:03Z three\n2026-01-01T0"
	read := func(q logQuery) ([]string, string) { return q.read(bufio.NewReader(strings.NewReader(text))) }
	since := time.Date(2026, 1, 1, 0, 0, 2, 0, time.UTC)
	for _, expected := range []struct {
		query logQuery
		lines []string
	}{
		{logQuery{tail: -1}, []string{"one\n", "two\n", "three\n"}},
		{logQuery{tail: -1, since: since}, []string{"two\n", "three\n"}},
		{logQuery{tail: 1, since: since}, []string{"three\n"}},
		{logQuery{tail: 0}, []string{}},
		{logQuery{tail: 1, timestamps: true}, []string{"2026-01-01T00:00:03Z three\n"}},
	} {
		if lines, rest := read(expected.query); !slices.Equal(lines, expected.lines) || rest != "2026-01-01T0" {
			t.Errorf("%+v reads %q and is left with %q", expected.query, lines, rest)
		}
	}
}

func TestAddressesAreNotUsedAgainAtOnce(t *testing.T) {
	n := &network{pods: netip.MustParsePrefix("10.9.8.248/29"), node: netip.MustParseAddr("10.9.8.249"),
		taken: map[netip.Addr]bool{}}
	n.last = n.node
	var taken []string
	for range 5 {
		address, err := n.take()
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, address.String())
		if len(taken) == 1 {
			n.giveBack(address)
		}
	}
	expected := []string{"10.9.8.250", "10.9.8.251", "10.9.8.252", "10.9.8.253", "10.9.8.254"}
	if !slices.Equal(taken, expected) {
		t.Errorf("taken were %v", taken)
	}
	if again, err := n.take(); err != nil || again.String() != "10.9.8.250" {
		t.Errorf("after all others %v (%v)", again, err)
	}
	if _, err := n.take(); err == nil {
		t.Error("an address was found where all are taken")
	}
}
