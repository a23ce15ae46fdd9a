//go:build e2e

package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	plugin "github.com/tidelay/tidelay/pkg/plugin/measured"
)

// measured has agents measure until what they measured is as an effect says, and what is asked
// for beside it exactly that.
func (s script) measured(ctx context.Context, t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	wanted, by := wishOf(t, d), plugin.ByPod
	if arg, named := d.Arg("by"); named {
		by = plugin.By(arg.SingleVal(t))
	}
	var known matrix
	err := s.poll(ctx, func(ctx context.Context) error {
		var now plugin.Document
		if err := s.json(ctx, &now, "matrix", s.cluster, "--by", string(by), "-o", "json"); err != nil {
			return err
		}
		if by != plugin.ByPod {
			return s.unlikeGroups(now, wanted)
		}
		got := s.matrixOf(t, now.Pairs, wanted)
		known = got.with(known, got.late(wanted)) // as in wantMatrix
		if unlike := known.unlike(wanted); unlike != "" {
			return errors.New(unlike)
		}
		return nil
	})
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return ""
}

// memberOf returns what a pod is in the TidbCluster: "tikv-0".
func (s script) memberOf(pod string) string { return strings.TrimPrefix(pod, s.cluster+"-") }

// matrixOf returns what agents measured. What is asked for must be as wished: no busy machine
// changes that.
func (s script) matrixOf(t *testing.T, rows []plugin.PairRow, wanted wish) matrix {
	t.Helper()
	all := len(members(s.cluster)) + 1 // discovery
	if pairs := all * (all - 1); len(rows) != pairs {
		t.Fatalf("%d pairs, want %d", len(rows), pairs)
	}
	found := matrix{}
	for _, r := range rows {
		p := pair{s.memberOf(r.From), s.memberOf(r.To)}
		asked := "not known"
		switch {
		case r.AskedCut:
			asked = inWords(cut)
		case r.Asked != nil:
			asked = inWords(inMilliseconds(*r.Asked))
		}
		if asked != inWords(wanted(p)) {
			t.Fatalf("%s to %s: asked for is %s, want %s", p.a, p.b, asked, inWords(wanted(p)))
		}
		if found[p] = cut; r.RTT != nil {
			found[p] = inTime(inMilliseconds(*r.RTT), wanted(p))
		}
	}
	return found
}

// inTime returns the RTT that is wished for where one is late by what a busy machine makes of the
// median of an agent's few handshakes, and less than any fault makes of it.
func inTime(rtt, want time.Duration) time.Duration {
	if want != cut && rtt > want && rtt < want+added/2 {
		return want
	}
	return rtt
}

// inMilliseconds returns a time of a document.
func inMilliseconds(ms float64) time.Duration {
	return time.Duration(ms * float64(time.Millisecond)).Round(time.Microsecond)
}

// unlikeGroups says which components or zones are not as wished, by the least and the most that
// is wished for their pairs. How late they may be at most is not looked at: a busy machine makes
// many pairs late at once, and a matrix of pods or an effect tells.
func (s script) unlikeGroups(now plugin.Document, wanted wish) error {
	var problems error
	groups := s.groups(now.By)
	if want := len(groups) * len(groups); len(now.Groups) < want-len(groups) || len(now.Groups) > want {
		return fmt.Errorf("%d pairs of groups, want those of %v", len(now.Groups), groups)
	}
	for _, r := range now.Groups {
		least, most, pairs := time.Duration(1<<62), time.Duration(0), 0
		for _, a := range groups[r.From] {
			for _, b := range groups[r.To] {
				if a != b {
					rtt := wanted(pair{a, b})
					least, most, pairs = min(least, rtt), max(most, rtt), pairs+1
				}
			}
		}
		isAsked := r.Pairs == pairs && r.LeastAsked != nil && inMilliseconds(*r.LeastAsked) == least && inMilliseconds(*r.MostAsked) == most
		isMeasured := r.Answered == pairs && inMilliseconds(*r.Longest) >= most && inMilliseconds(*r.Median) >= least
		if !isAsked || !isMeasured {
			row, _ := json.Marshal(r)
			problems = errors.Join(problems, fmt.Errorf("%s, want %d pairs with %s to %s", row, pairs, least, most))
		}
	}
	return problems
}

// groups are all members, and discovery, by component or by their zone of three.
func (s script) groups(by plugin.By) map[string][]string {
	all, zones := map[string][]string{}, dealt(3)
	for _, member := range append(members(s.cluster), "discovery") {
		group, _, _ := strings.Cut(member, "-")
		if by == plugin.ByZone {
			group = cmp.Or(zones[member], "(no zone)")
		}
		all[group] = append(all[group], member)
	}
	return all
}

// What a heat map shows of a pair: the RTT in ms, and what is asked for below it. And what it
// would fetch, which is nothing.
var (
	cellOfMap = regexp.MustCompile(`<td class="[^"]*"[^>]*><b>([\d.]+)(?:<i>[!?]</i>)?</b>(?:<span[^>]*>[^<]*</span>)?(?:<small>&#43;([\d.]+)</small>)?</td>`)
	fetched   = regexp.MustCompile(`(src|href)="?(https?:)?//`)
)

// heatmap reads a file in $TMP, and counts its pairs by what is asked for.
func (s script) heatmap(_ context.Context, t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(s.variables["TMP"], d.CmdArgs[0].Key))
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	if what := fetched.Find(content); what != nil {
		t.Errorf("the heat map fetches something: %s", what)
	}
	asked := map[string]int{}
	for _, cell := range cellOfMap.FindAllStringSubmatch(string(content), -1) {
		rtt, _ := strconv.ParseFloat(cell[1], 64)
		added, _ := strconv.ParseFloat(cell[2], 64) // 0 for ""
		if rtt < added-0.1 {
			t.Errorf("the heat map shows %s ms where %s ms are asked for", cell[1], cell[2])
		}
		asked[cell[2]]++
	}
	return fmt.Sprintf("%d pairs with nothing asked for, %d with +50\n", asked[""], asked["50"])
}
