package safety

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
)

// Allowances returns the rules that messages of refusals name, in their order: what an object
// has to allow to be refused by none of them. A message that was cut may lack some.
func Allowances(message string) []v1alpha1.Allowance {
	var rules []v1alpha1.Allowance
	for _, part := range strings.Split(message, "allow: [")[1:] {
		if rule, _, is := strings.Cut(part, "]"); is {
			rules = append(rules, v1alpha1.Allowance(rule))
		}
	}
	return rules
}

// mostNamed is how many of a list a message names.
const mostNamed = 5

// some names the first of a list, and says how many more there are.
func some(list []string, separator string) string {
	if more := len(list) - mostNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:mostNamed], separator), more)
	}
	return strings.Join(list, separator)
}

// someOf names some of the pods, by name.
func someOf(pods []string) string { return some(sorted(pods), ", ") }

// sorted returns names in order, each once.
func sorted(names []string) []string {
	all := slices.Sorted(slices.Values(names))
	return slices.Compact(all)
}

func sortedPairs(pairs []compile.Pair) []compile.Pair {
	slices.SortFunc(pairs, func(a, b compile.Pair) int { return cmp.Or(cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B)) })
	return pairs
}

func podsOf(pairs []compile.Pair) []string {
	var pods []string
	for _, p := range pairs {
		pods = append(pods, p.A, p.B)
	}
	return sorted(pods)
}

// countOf is a number in a sentence.
func countOf(n int) string {
	if n == 0 {
		return "none"
	}
	return "only " + strconv.Itoa(n)
}

// short writes a time without the units that are zero: "34m", "4m30s".
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
