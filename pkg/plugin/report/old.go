package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/plugin/look"
)

// old says what is older than the program that shows the report, or of another version.
func (r *Report) old(c *look.Cluster, version string) []string {
	all := Missing(c.Unknown)
	var others []string // versions
	for _, p := range r.Pods {
		if p.Agent.State == Answers && IsRelease(version) && p.Agent.Version != version && !slices.Contains(others, p.Agent.Version) {
			others = append(others, p.Agent.Version)
		}
	}
	slices.Sort(others)
	for _, other := range others {
		pods := r.podsWith(func(p *Pod) bool { return p.Agent.State == Answers && p.Agent.Version == other })
		if other == "" {
			all = append(all, fmt.Sprintf("agents of %s don't say their version, and are older than this plugin", pods))
		} else {
			all = append(all, fmt.Sprintf("agents of %s are %s, and this plugin is %s", pods, other, version))
		}
	}
	return all
}

// Missing says that the API server does not know some of Tidelay's kinds, and why. There is one
// sentence, or none.
func Missing(kinds []string) []string {
	switch len(kinds) {
	case 0:
		return nil
	case 1:
		return []string{fmt.Sprintf("the API server knows no %s: its CRDs are older than this plugin", kinds[0])}
	default:
		return []string{fmt.Sprintf("the API server knows no %s: Tidelay's controller is not installed", strings.Join(kinds, " and no "))}
	}
}

// IsRelease reports whether a version can be compared: a program that somebody built has none.
func IsRelease(version string) bool { return strings.HasPrefix(version, "v") }

// podsWith returns the names of some pods.
func (r *Report) podsWith(is func(*Pod) bool) string {
	var all []string
	for i := range r.Pods {
		if is(&r.Pods[i]) {
			all = append(all, r.Pods[i].Name)
		}
	}
	return strings.Join(all, ", ")
}
