//go:build e2e

package cluster

import (
	"regexp"
	"strings"
)

// What is another one in each run, and what stands for it.
var normals = []struct {
	what *regexp.Regexp
	as   string
}{
	// Of a row of status: how many are verified so far, and the time that is left.
	{regexp.MustCompile(`(?m)(Running +\d+/\d+) +(\d+/\d+|-) +\S+$`), "$1   VERIFIED   LEFT"},
	// What a busy machine was late with, which the tests measure themselves.
	{regexp.MustCompile(`\n\S+: .* asked for.*\n`), ""},
	{regexp.MustCompile(`at (\S+ )?\d\d:\d\d:\d\d UTC`), "at TIME"},
	{regexp.MustCompile(`until \d{4}-\d\d-\d\dT\S+Z`), "until TIME"},
	// The engine is the kernel's, the version the build's, and other tests' TidbClusters may be there.
	{regexp.MustCompile(`\b(netem|nfqueue)\b`), "ENGINE"},
	{regexp.MustCompile(`answer: ENGINE, \S+, sidecar`), "answer: ENGINE, VERSION, sidecar"},
	{regexp.MustCompile(`(?m)version \S+, engine ENGINE.*$`), "version VERSION, engine ENGINE"},
	{regexp.MustCompile(`(?m)^(kubectl tidelay|controller|injector) +\S+$`), "$1   VERSION"},
	{regexp.MustCompile(`(?m)^the (controller|injector) is \S+, and this plugin .*\n`), ""},
	{regexp.MustCompile(`the injector \S+ wrote`), "the injector VERSION wrote"},
	{regexp.MustCompile(`(?m)^\d+ of \d+ agents hold`), "N of N agents hold"},
	// Names and identities.
	{regexp.MustCompile(`-discovery-\w+-\w+`), "-discovery-POD"},
	{regexp.MustCompile(`(ReplicaSet \S+)-\w+`), "$1-HASH"},
	{regexp.MustCompile(`\.[0-9a-f]{10}\b`), ".HASH"},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UID"},
	{regexp.MustCompile(`\b(\d+\.){3}\d+\b`), "ADDRESS"},
	// What an agent counted, and that other tests killed it.
	{regexp.MustCompile(`\d+ packets?, \d+ of them dropped`), "COUNTED"},
	{regexp.MustCompile(`, started again \d+ times`), ""},
	// What PD says of stores.
	{regexp.MustCompile(`store \d+(, \d+ leaders?)?(, busiest)?`), "store"},
	// Of an agent's answer, all but the fault.
	{regexp.MustCompile(`(?m)^\{"fault":(null|\{[^}]*\}),.*\}`), "{\"fault\":$1}\n"},
	// What agents measured, which the directive matrix reads as numbers, and what was late.
	{regexp.MustCompile(`\d+(\.\d+)?[!?]? / \d+(\.\d+)?`), "LONGEST / MEDIAN"},
	{regexp.MustCompile(`  (\d+\.\d+[!?]?|\d+[!?])`), "  RTT"},
	{regexp.MustCompile(`(?m)^longest: .*$`), "longest: PAIR"},
	{regexp.MustCompile(`(?m)^(!   out of tolerance|20\? measured, .*|out of tolerance: .*|not known: .*|furthest off: .*|and \d+ more)\n`), ""},
	{regexp.MustCompile(`pairs measured, .*`), "pairs measured"},
	{regexp.MustCompile(`(\S) {2,}`), "$1   "},
}

// normal returns what was printed without what is another in each run.
func (s script) normal(text string) string {
	text = strings.ReplaceAll(text, agentImage, "AGENT-IMAGE")
	for name, value := range s.variables {
		text = strings.ReplaceAll(text, value, name)
	}
	for _, n := range normals {
		text = n.what.ReplaceAllString(text, n.as)
	}
	return text
}
