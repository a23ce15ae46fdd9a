package verify_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

func samples(ms ...float64) api.Measurement { return api.Measurement{Samples: ms} }

func TestJudge(t *testing.T) {
	const ms = time.Millisecond
	quiet := samples(0.3, 0.4, 0.3, 0.5, 0.3)
	fifty := verify.Asked{RTT: 50 * ms}
	for name, test := range map[string]struct {
		asked            verify.Asked
		port             uint16
		before, measured api.Measurement
		want             verify.Outcome
	}{
		"right":              {asked: fifty, port: 1, before: quiet, measured: samples(50.4, 50.5, 50.3), want: verify.InTolerance},
		"one early":          {asked: fifty, port: 1, before: quiet, measured: samples(50.4, 47.7, 50.4), want: verify.Early},
		"a little early":     {asked: fifty, port: 1, before: quiet, measured: samples(50.4, 47.9, 50.4), want: verify.InTolerance},
		"one late":           {asked: fifty, port: 1, before: quiet, measured: samples(50.4, 90, 50.4), want: verify.InTolerance},
		"late by 5 percent":  {asked: fifty, port: 1, before: quiet, measured: samples(52.9, 52.9, 52.9), want: verify.InTolerance},
		"late by more":       {asked: fifty, port: 1, before: quiet, measured: samples(53.2, 53.2, 53.2), want: verify.Late},
		"short, one early":   {asked: verify.Asked{RTT: 2 * ms}, port: 1, before: quiet, measured: samples(2.4, 1.7, 2.4), want: verify.Early},
		"short, early a bit": {asked: verify.Asked{RTT: 2 * ms}, port: 1, before: quiet, measured: samples(2.4, 1.9, 2.4), want: verify.InTolerance},
		"short, 2 ms late":   {asked: verify.Asked{RTT: ms}, port: 1, before: quiet, measured: samples(3.2, 3.2, 3.2), want: verify.InTolerance},
		"short, 3 ms late":   {asked: verify.Asked{RTT: ms}, port: 1, before: quiet, measured: samples(4.2, 4.2, 4.2), want: verify.Late},
		"none of it":         {asked: fifty, port: 1, before: quiet, measured: quiet, want: verify.Early},
		"none of it, noisy":  {asked: verify.Asked{RTT: ms}, port: 1, before: samples(0.3, 0.4, 0.5, 0.9, 2), measured: samples(0.4, 0.4, 0.5, 1, 2), want: verify.Early},
		"none, more noise":   {asked: verify.Asked{RTT: ms}, port: 1, before: samples(0.3, 0.5, 0.6, 0.7, 0.8), measured: samples(0.5, 0.6, 0.7, 0.8, 0.8), want: verify.Noisy},
		"none of 2.5 ms":     {asked: verify.Asked{RTT: 2500 * time.Microsecond}, port: 1, before: samples(0.3, 0.3, 0.4, 1, 2.2), measured: samples(0.3, 0.3, 0.4, 0.4, 1), want: verify.Early},
		"none of jitter":     {asked: verify.Asked{RTT: 50 * ms, Spread: 49 * ms}, port: 1, before: quiet, measured: quiet, want: verify.Early},
		"jitter":             {asked: verify.Asked{RTT: 50 * ms, Spread: 10 * ms}, port: 1, before: quiet, measured: samples(40.2, 61, 62), want: verify.InTolerance},
		"more than jitter":   {asked: verify.Asked{RTT: 50 * ms, Spread: 10 * ms}, port: 1, before: quiet, measured: samples(40.2, 63.5, 66), want: verify.Late},
		"noise":              {asked: fifty, port: 1, before: samples(10, 20), measured: samples(62, 70), want: verify.InTolerance},
		"too much noise":     {asked: fifty, port: 1, before: samples(10, 50), measured: samples(62, 70), want: verify.Noisy},
		"rate":               {asked: verify.Asked{RTT: 50 * ms, Rated: true}, port: 1, before: quiet, measured: samples(300, 300), want: verify.InTolerance},
		"reorder":            {asked: verify.Asked{RTT: 50 * ms, Reordered: true}, port: 1, before: quiet, measured: samples(0.4, 50.4, 50.4, 50.5), want: verify.InTolerance},
		"mostly reordered":   {asked: verify.Asked{RTT: 50 * ms, Reordered: true}, port: 1, before: quiet, measured: samples(0.4, 0.4, 0.5, 50.4), want: verify.Mixed},
		"none of reorder":    {asked: verify.Asked{RTT: 50 * ms, Reordered: true}, port: 1, before: quiet, measured: samples(0.3, 0.3, 0.4, 0.4, 9), want: verify.Early},
		"loss":               {asked: verify.Asked{RTT: 50 * ms, Lossy: true}, port: 1, before: quiet, measured: samples(50.4), want: verify.InTolerance},
		"all lost":           {asked: verify.Asked{RTT: 50 * ms, Lossy: true}, port: 1, before: quiet, want: verify.Dropped},
		"full link":          {asked: verify.Asked{RTT: 50 * ms, Rated: true}, port: 1, before: quiet, want: verify.Dropped},
		"no answer":          {asked: fifty, port: 1, before: quiet, want: verify.NoAnswer},
		"nobody there":       {asked: fifty, port: 1, want: verify.Unreachable},
		"cut":                {asked: verify.Asked{Cut: true}, port: 1, before: quiet, want: verify.InTolerance},
		"not cut":            {asked: verify.Asked{Cut: true}, port: 1, before: quiet, measured: samples(0.4), want: verify.NotCut},
		"cut, nobody there":  {asked: verify.Asked{Cut: true}, port: 1, want: verify.Unreachable},
		"ping":               {asked: fifty, before: quiet, measured: samples(50.4), want: verify.InTolerance},
		"ping is not let go": {asked: fifty, before: quiet, want: verify.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			c := verify.Check{Port: test.port, Asked: test.asked}
			if got := c.Judge(test.before, test.measured); got.Outcome != test.want {
				t.Errorf("%+v, want %s", got, test.want)
			}
		})
	}
}

// The first letter of each step is an outcome: Right, Wrong, Failed, Busy, Unable, or of
// counters Begun (S), Few (N), unClear. The second
// is the verdict after it: pending, right, wrong, unknown; in capitals if it is another one.
func TestVerdicts(t *testing.T) {
	outcomes := map[byte]verify.Outcome{'R': verify.InTolerance, 'W': verify.Late, 'F': verify.Failed, 'B': verify.Busy, 'U': verify.Unable, 'S': verify.Begun, 'N': verify.Few, 'C': verify.Unclear}
	for _, steps := range []string{
		"RR,Rr,Rr", "Wp,WW,Ww", "Wp,RR,Wr,WW,Rw,RR", "RR,Wr,Rr,Wr,WW", "Fp,Fp,FU,Fu,Ru,RR", "Bp,Bp,BU,Ru,RR", "RR,Br,Br,Br,Br",
		"Wp,Fp,Wp,WW", "RR,UU,Uu,Wu,Uu,RR", "Wp,WW,Bw,Rw,Bw,RR", "RR,Wr,Fr,Wr,WW", "Wp,WW,UU", "Fp,Fp,FU,Wu,WW",
		// Nothing is known of a pair that is not the same twice.
		"Wp,Fp,Wp,Fp,Wp,FU,Wu,Fu,Wu", "Fp,Wp,Fp,Wp,Fp,WU,Ru,Wu,Ru,Wu,Ru,Wu,Ru,Wu,Ru,Wu,Ru,RR", "Bp,Wp,Bp,Wp,Bp,WU",
		// What was found stays until ten measurements have not confirmed it.
		"RR,Fr,Fr,Fr,Fr,Fr,Fr,Fr,Fr,Fr,FU,Fu,Wu,WW", "RR,Fr,Fr,Fr,Fr,Fr,Fr,Fr,Fr,Fr,Rr,Fr", "Wp,WW,Fw,Fw,Fw,Fw,Fw,Fw,Fw,Fw,Fw,FU,Ru,Fu,Ru,RR",
		"RR,Fr,Wr,Fr,Wr,Fr,Wr,Fr,Wr,Fr,WU", "Wp,WW,Rw,Fw,Rw,Fw,Rw,Fw,Rw,Fw,Rw,FU",
		// Too few packets change no verdict, and a reading with nothing before it says as little as
		// a measurement that failed.
		"Sp,NU,Nu,RR,Nr,Sr,Cr", "Sp,NU,CU,Cu,Nu", "CU,Nu,Cu,Wu,WW,Nw,Cw,Rw,RR", "RR,Wr,Nr,WW,Rw,Nw,RR", "Sp,Sp,SU,NU,Fu,Nu,RR",
		"RR,Sr,Nr,Sr,Nr,Sr,Sr,Sr,Sr,Nr,Sr,Sr,Sr,SU,NU,RR", "RR,Wr,Sr,Wr,WW", "RR,UU,NU,RR", "RR,Fr,Wr,Fr,Wr,Fr,Wr,Fr,Wr,Fr,WU,Nu,Ru,RR",
	} {
		var s verify.State
		for step := range strings.SplitSeq(steps, ",") {
			changed := s.Note(verify.Judgement{Outcome: outcomes[step[0]]})
			want := strings.IndexByte("prwu", step[1]|0x20)
			if isCapital := step[1] < 'a'; int(s.Verdict) != want || changed != isCapital {
				t.Errorf("%s: at %s it is %d, want %d; changed: %t", steps, step, s.Verdict, want, changed)
			}
		}
	}
}

// What is told is what the outcome comes from: of a pair that is too early the shortest.
func TestJudgementHasWhatItIsToldBy(t *testing.T) {
	c := verify.Check{Port: 1, Asked: verify.Asked{RTT: 50 * time.Millisecond}}
	for outcome, measured := range map[verify.Outcome]api.Measurement{verify.Early: samples(51, 51, 31, 51), verify.Late: samples(90, 51, 90, 90)} {
		want := map[verify.Outcome]time.Duration{verify.Early: 31 * time.Millisecond, verify.Late: 90 * time.Millisecond}[outcome]
		got := c.Judge(samples(1, 2, 2), measured)
		if got.Outcome != outcome || got.Measured != want || got.Before != map[verify.Outcome]time.Duration{verify.Early: time.Millisecond, verify.Late: 2 * time.Millisecond}[outcome] {
			t.Errorf("%+v, want %s by %s", got, outcome, want)
		}
	}
}

// A fault that is not there is never what was asked for, whatever the network does that is
// the same at both ports.
func TestNoneOfIt(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		asked := verify.Asked{RTT: time.Duration(rapid.IntRange(1000, 100_000).Draw(rt, "µs")) * time.Microsecond, Rated: rapid.Bool().Draw(rt, "rated"), Reordered: rapid.Bool().Draw(rt, "reordered")}
		asked.Spread = time.Duration(rapid.IntRange(0, int(asked.RTT/time.Microsecond)-1000).Draw(rt, "spread")) * time.Microsecond
		ms := rapid.SliceOfN(rapid.Float64Range(0, 200), 5, 5).Draw(rt, "ms")
		c := verify.Check{Port: 1, Asked: asked}
		if got := c.Judge(samples(ms...), samples(ms...)); got.Outcome == verify.InTolerance {
			rt.Fatalf("%+v is %s", asked, got.Outcome)
		}
	})
}

// Too few packets ask for no other look soon, and don't end the second look.
func TestIsOpen(t *testing.T) {
	var s verify.State
	for i, step := range []struct {
		outcome verify.Outcome
		want    bool
	}{{verify.Begun, true}, {verify.Few, false}, {verify.InTolerance, false}, {verify.LostMore, true}, {verify.Few, false}, {verify.LostMore, false}, {verify.InTolerance, true}, {verify.Begun, true}} {
		s.Note(verify.Judgement{Outcome: step.outcome})
		if s.IsOpen() != step.want {
			t.Errorf("after %d it is open: %t", i, s.IsOpen())
		}
	}
	if s.Verdict != verify.Wrong {
		t.Errorf("verdict %d", s.Verdict)
	}
}

func TestTell(t *testing.T) {
	const ms = time.Millisecond
	result := func(from, to string, v verify.Verdict, j verify.Judgement) verify.Result {
		c := verify.Check{From: from, To: to, Port: 2379, Asked: verify.Asked{RTT: 50 * ms}}
		return verify.Result{Task: verify.Task{Check: c, Objects: []string{"slow"}}, State: verify.State{Verdict: v, Because: j}}
	}
	right := verify.Judgement{Outcome: verify.InTolerance, Before: ms, Measured: 51 * ms}
	late := verify.Judgement{Outcome: verify.Late, Before: ms, Measured: 91 * ms}
	cut := result("c", "d", verify.Wrong, verify.Judgement{Outcome: verify.NotCut, Before: ms, Measured: ms})
	cut.Asked = verify.Asked{Cut: true}
	lossy := result("b", "c", verify.Unknown, verify.Judgement{Outcome: verify.Dropped})
	lossy.Asked.Lossy = true

	counter := func(pod string, v verify.Verdict, o verify.Outcome, why string, off float64) verify.Result {
		r := result(pod, "", v, verify.Judgement{Outcome: o, Why: why, Off: off})
		r.Check = verify.Check{From: pod, Counted: verify.Counted{Fault: "slow.1", Loss: 100}}
		return r
	}
	more := counter("a", verify.Wrong, verify.LostMore, "lost 3.1 % of 12000 packets, 1 % is asked for", 2.1)
	mixed := counter("b", verify.Unknown, verify.LostMore, "lost 3.1 % of 12000 packets, 1 % is asked for", 2.1)
	few := counter("b", verify.Unknown, verify.Few, "12 packets met it in 8s", 0)
	other := result("x", "y", verify.Wrong, late)
	other.Objects = []string{"other"}
	nothing := result("b", "c", verify.Unknown, verify.Judgement{Outcome: verify.Noisy})
	nothing.Asked.RTT = 0
	for name, test := range map[string]struct {
		results  []verify.Result
		unseen   string
		noPair   bool
		verified string
		status   metav1.ConditionStatus
		message  string
		pairs    int
		isOpen   bool
	}{
		"nothing":  {status: metav1.ConditionUnknown, message: "no pair of its pods can be measured now"},
		"unseen":   {unseen: "it is for UDP", status: metav1.ConditionUnknown, message: "it is for UDP"},
		"other":    {results: []verify.Result{other}, status: metav1.ConditionUnknown, message: "no pair of its pods can be measured now"},
		"right":    {results: []verify.Result{result("a", "b", verify.Right, right)}, verified: "2/2", status: metav1.ConditionTrue, message: "1 pair measured, as asked for", pairs: 1},
		"a part":   {results: []verify.Result{result("a", "b", verify.Right, right)}, unseen: "it is for UDP", verified: "2/2", status: metav1.ConditionTrue, message: "1 pair measured, as asked for; not all is measured: it is for UDP", pairs: 1},
		"not held": {results: []verify.Result{result("a", "elsewhere", verify.Right, right)}, verified: "1/1", status: metav1.ConditionTrue, message: "1 pair measured, as asked for", pairs: 1},
		"wrong": {
			results:  []verify.Result{result("a", "b", verify.Right, right), result("b", "c", verify.Wrong, late), result("c", "d", verify.Pending, verify.Judgement{})},
			verified: "1/3", status: metav1.ConditionFalse, message: "b to c (TCP port 2379): 90ms added, 50ms asked for", pairs: 2,
		},
		"one pod's": {
			results: []verify.Result{result("a", "b", verify.Wrong, late), result("b", "c", verify.Wrong, late), counter("b", verify.Wrong, verify.LostMore, "lost 2 %", 1), result("c", "d", verify.Right, right)}, verified: "1/4", status: metav1.ConditionFalse,
			message: "a to b (TCP port 2379): 90ms added, 50ms asked for; b lost 2 %; and 1 verdict more, all with b", pairs: 3,
		},
		"one way and back": {
			results: []verify.Result{result("a", "b", verify.Wrong, late), result("b", "a", verify.Wrong, late)}, verified: "0/2", status: metav1.ConditionFalse,
			message: "a to b (TCP port 2379): 90ms added, 50ms asked for; and 1 pair more, all with a and b", pairs: 2,
		},
		"not there": {
			results:  []verify.Result{result("a", "b", verify.Wrong, verify.Judgement{Outcome: verify.Early, Before: ms, Measured: ms - time.Microsecond})},
			verified: "0/2", status: metav1.ConditionFalse, message: "a to b (TCP port 2379): nothing added, 50ms asked for", pairs: 1,
		},
		"two wrong": {
			results: []verify.Result{result("a", "b", verify.Wrong, late), cut}, verified: "0/4", status: metav1.ConditionFalse,
			message: "c to d (TCP port 2379): an answer in 1ms, a partition asked for; and 1 pair more", pairs: 2,
		},
		"no answer is worse": {
			results: []verify.Result{result("a", "b", verify.Wrong, late), result("c", "d", verify.Wrong, verify.Judgement{Outcome: verify.NoAnswer, Before: ms})}, verified: "0/4", status: metav1.ConditionFalse,
			message: "c to d (TCP port 2379): no answer, 50ms asked for; and 1 pair more", pairs: 2,
		},
		"early": {
			results:  []verify.Result{result("a", "b", verify.Wrong, verify.Judgement{Outcome: verify.Early, Before: ms, Measured: 31 * ms})},
			verified: "0/2", status: metav1.ConditionFalse, message: "a to b (TCP port 2379): 30ms added, 50ms asked for", pairs: 1,
		},
		"not cut":   {results: []verify.Result{cut}, verified: "0/2", status: metav1.ConditionFalse, message: "c to d (TCP port 2379): an answer in 1ms, a partition asked for", pairs: 1},
		"no answer": {results: []verify.Result{result("a", "b", verify.Wrong, verify.Judgement{Outcome: verify.NoAnswer, Before: ms})}, verified: "0/2", status: metav1.ConditionFalse, message: "a to b (TCP port 2379): no answer, 50ms asked for", pairs: 1},
		"pending":   {results: []verify.Result{result("a", "b", verify.Right, right), result("b", "c", verify.Pending, verify.Judgement{})}, verified: "2/2", status: metav1.ConditionUnknown, message: "it is being measured", pairs: 1, isOpen: true},
		"unknown": {
			results:  []verify.Result{result("a", "b", verify.Right, right), result("b", "c", verify.Unknown, verify.Judgement{Outcome: verify.Noisy})},
			verified: "2/2", status: metav1.ConditionTrue, message: "1 pair measured, as asked for; not known of b to c: the network itself varies more than what is asked for", pairs: 1,
		},
		"unknown of nothing": {
			results: []verify.Result{nothing}, status: metav1.ConditionUnknown,
			message: "not known of b to c: the network itself varies too much to say that nothing is added",
		},
		"all lost": {
			results: []verify.Result{lossy, result("c", "d", verify.Unknown, verify.Judgement{Outcome: verify.Dropped})}, status: metav1.ConditionUnknown,
			message: "not known of b to c: nothing came through the loss; and of 1 pair more",
		},
		"full link": {
			results: []verify.Result{result("b", "c", verify.Unknown, verify.Judgement{Outcome: verify.Dropped})}, status: metav1.ConditionUnknown,
			message: "not known of b to c: nothing came in time behind what else the rate lets through",
		},
		"contradiction": {
			results: []verify.Result{result("b", "c", verify.Unknown, late)}, status: metav1.ConditionUnknown,
			message: "not known of b to c: its measurements contradict each other",
		},
		"lost more": {
			results:  []verify.Result{counter("c", verify.Wrong, verify.LostMore, "lost 2 % of 90000", 1), more, counter("b", verify.Right, verify.InTolerance, "", 0)},
			verified: "1/3", status: metav1.ConditionFalse, message: "a lost 3.1 % of 12000 packets, 1 % is asked for; and 1 verdict more",
		},
		"counted": {
			results:  []verify.Result{result("a", "b", verify.Right, right), counter("a", verify.Right, verify.InTolerance, "", 0), few},
			verified: "2/2", status: metav1.ConditionTrue, message: "1 pair measured and 1 counter compared, as asked for; not known of b: 12 packets met it in 8s", pairs: 1,
		},
		"pair right, counter wrong": {results: []verify.Result{result("a", "b", verify.Right, right), more}, verified: "1/2", status: metav1.ConditionFalse, message: "a lost 3.1 % of 12000 packets, 1 % is asked for", pairs: 1},
		"few":                       {results: []verify.Result{few}, status: metav1.ConditionUnknown, message: "not known of b: 12 packets met it in 8s"},
		"counted in part": {
			results: []verify.Result{counter("a", verify.Right, verify.InTolerance, "", 0)}, unseen: "nothing counts what is corrupted", verified: "1/1", status: metav1.ConditionTrue,
			message: "1 counter compared, as asked for; not all is measured: nothing counts what is corrupted",
		},
		"counters contradict": {results: []verify.Result{mixed}, status: metav1.ConditionUnknown, message: "not known of b: its measurements contradict each other"},
		"counted anew":        {results: []verify.Result{counter("b", verify.Unknown, verify.Begun, "", 0)}, status: metav1.ConditionUnknown, message: "not known of b: what its agent counts begins anew each time"},
		"no answer, and counters": {
			results: []verify.Result{more, result("c", "d", verify.Wrong, verify.Judgement{Outcome: verify.NoAnswer, Before: ms})}, verified: "0/3", status: metav1.ConditionFalse,
			message: "c to d (TCP port 2379): no answer, 50ms asked for; a lost 3.1 % of 12000 packets, 1 % is asked for", pairs: 1,
		},
		"many wrong": {
			results: []verify.Result{
				more, counter("c", verify.Wrong, verify.LostMore, "lost 2 %", 1), result("a", "b", verify.Wrong, late), result("c", "d", verify.Wrong, late), result("b", "c", verify.Right, right),
			}, verified: "0/4", status: metav1.ConditionFalse,
			message: "a to b (TCP port 2379): 90ms added, 50ms asked for; a lost 3.1 % of 12000 packets, 1 % is asked for; and 2 verdicts more", pairs: 3,
		},
		"counters alone": {
			results: []verify.Result{counter("a", verify.Right, verify.InTolerance, "", 0)}, unseen: "round trips of more than 6s are not measured", noPair: true, status: metav1.ConditionUnknown,
			message: "1 counter compared, as asked for; no delay or partition is measured: round trips of more than 6s are not measured",
		},
		"counters alone are wrong": {
			results: []verify.Result{more}, unseen: "round trips of more than 6s are not measured", noPair: true, verified: "0/1", status: metav1.ConditionFalse,
			message: "a lost 3.1 % of 12000 packets, 1 % is asked for",
		},
		"all unknown": {results: []verify.Result{result("b", "c", verify.Unknown, verify.Judgement{Outcome: verify.Unable, Why: "its agent is old"})}, status: metav1.ConditionUnknown, message: "not known of b to c: its agent is old"},
	} {
		t.Run(name, func(t *testing.T) {
			got := verify.Tell("slow", test.results, func(pod string) bool { return pod != "elsewhere" }, verify.Unseen{Why: test.unseen, NoPair: test.noPair})
			if got.Verified != test.verified || got.Condition.Status != test.status || got.Condition.Message != test.message || len(got.Pairs) != test.pairs || got.IsOpen != test.isOpen {
				t.Errorf("%+v", got)
			}
			for i, p := range got.Pairs { // the worst first
				if isWrong := p.Verdict == v1alpha1.PairWrong; !isWrong && p.Verdict != v1alpha1.PairRight || isWrong && (test.status != metav1.ConditionFalse || i > 0 && got.Pairs[i-1].Verdict != p.Verdict) {
					t.Errorf("pairs %+v", got.Pairs)
				}
			}
		})
	}
}
