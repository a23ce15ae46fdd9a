package selector

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"tikv":                                "tikv",
		" tikv , pd ":                         "tikv, pd",
		"pd(leader)":                          "pd(leader)",
		"pd ( follower ) @ b":                 "pd(follower)@b",
		"ticdc(owner)":                        "ticdc(owner)",
		"tikv(busiest)":                       "tikv(busiest)",
		"tidb(random)":                        "tidb(random)",
		"tidb(random:1)":                      "tidb(random)",
		"tidb(random:2)@eu-west-1a":           "tidb(random:2)@eu-west-1a",
		"tikv(minority),tikv(majority)":       "tikv(minority), tikv(majority)",
		"tiflash(half)":                       "tiflash(half)",
		"tiproxy(0)":                          "tiproxy(0)",
		"tikv(007)":                           "tikv(7)",
		"tikv(store=4)":                       "tikv(store=4)",
		"tiflash(store=18446744073709551615)": "tiflash(store=18446744073709551615)",
		"discovery":                           "discovery",
		"discovery(random)":                   "discovery(random)",
		"all@a":                               "all@a",
		"others":                              "others",
		"pod/basic-tikv-7":                    "pod/basic-tikv-7",
		"cidr/10.0.0.0/8":                     "cidr/10.0.0.0/8",
		"cidr/10.1.2.3":                       "cidr/10.1.2.3/32",
		"cidr/fd00::/8":                       "cidr/fd00::/8",
		"cidr/fd00::1":                        "cidr/fd00::1/128",
		"pdleader":                            "pd(leader)",
		"pdfollower(all)":                     "pd(follower)",
		"pd(follower-all)":                    "pd(follower)",
		"ticdcowner":                          "ticdc(owner)",
		"tikv(all)":                           "tikv",
	} {
		got, err := Parse(text)
		if err != nil || join(got) != want {
			t.Errorf("%q: %s, %v; want %s", text, join(got), err, want)
		}
	}
}

func join(all []Selector) string {
	var words []string
	for _, s := range all {
		words = append(words, s.String())
	}
	return strings.Join(words, ", ")
}

// Each mistake is pointed at, and what is accepted is named. The mark ^ is where.
func TestParseRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"^":                         "a selector is missing; want discovery, pd,",
		"tikv,^":                    "a selector is missing",
		"tikv,  ^,pd":               "a selector is missing",
		"^tikvs":                    `"tikvs" is unknown; want discovery, pd, pump, scheduling, ticdc, tidb, tiflash, tikv, tiproxy, tso, all, others, pod/NAME, cidr/ADDRESS/BITS`,
		"^TiKV":                     "is unknown",
		"tikv(^leader)":             "tikv has no leader; want all, random, random:N, minority, majority, half, an ordinal like 0, busiest, store=ID",
		"pd(^owner)":                "pd has no owner; want all, random, random:N, minority, majority, half, an ordinal like 0, leader, follower",
		"discovery(^0)":             "discovery has no ordinal",
		"tidb(^store=1)":            "tidb has no store",
		"tikv(^oldest)":             `"oldest" picks nothing; want all,`,
		"tikv(^)":                   `"" picks nothing`,
		"tikv(^-1)":                 `"-1" picks nothing`,
		"tikv(^1.5)":                "picks nothing",
		"tikv(^99999999999)":        "picks nothing",
		"tikv(random:^0)":           "is no number of pods; want 1 to 1000",
		"tikv(random:^1001)":        "want 1 to 1000",
		"tikv(random:^)":            "is no number of pods",
		"tikv(store=^0)":            "is no ID of a store; want a number from 1",
		"tikv(store=^x)":            "is no ID of a store",
		"tidb(^ddl-owner)":          "not known here; want tidb, tidb(random) or tidb(ORDINAL)",
		"tikv(random^":              "want a closing bracket",
		"tikv(random^,pd":           "want a closing bracket",
		"tikv(0)^x":                 "want a comma",
		"tikv(0)^(1)":               "want a comma",
		"tikv@a^@b":                 "want a comma",
		"tikv@a^(0)":                "want a comma",
		"tikv@^":                    "is no name of a zone",
		"tikv@^a b":                 "is no name of a zone",
		"pdleader(^random)":         `pd(leader) can't be narrowed by "random"`,
		"all^(0)":                   "only components have picks, and all is none",
		"pod/a^(0)":                 "only components have picks",
		"pod/^":                     "is no name of a pod",
		"pod/^A_b":                  "is no name of a pod",
		"pod/a^@b":                  "no @zone",
		"cidr/^10.0.0.0/33":         "is no range of addresses",
		"cidr/^10.0.0.1/8":          "has bits beyond its 8; want 10.0.0.0/8",
		"cidr/^::ffff:10.0.0.0/104": "written as one of IPv6",
		"cidr/^fe80::1%eth0":        "is no range",
		"^dns/example.com":          "not known here; want cidr/",
		strings.Repeat("tikv,", MaxTerms) + "^tikv": "want at most 16 selectors",
	} {
		plain := strings.Replace(text, "^", "", 1)
		got, err := Parse(plain)
		var mistake *Error
		if !errors.As(err, &mistake) || mistake.Offset != strings.Index(text, "^") || !strings.Contains(err.Error(), says) || got != nil {
			t.Errorf("%q: %v, %v; want it to say %q", text, got, err, says)
		}
	}
	if _, err := Parse(strings.Repeat("a", MaxLength+1)); err == nil || !strings.Contains(err.Error(), "longer than 253 bytes") {
		t.Errorf("a long text: %v", err)
	}
}

// What is accepted means the same when it is written as String does.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"tikv", "pd(leader)@a, others", "tikv(random:2)", "cidr/10.0.0.0/8,pod/a-0", "pdfollower(all)", "tikv(store=4)@b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse(text)
		if err != nil {
			var mistake *Error
			if !errors.As(err, &mistake) || mistake.Offset < 0 || mistake.Offset > len(mistake.Text) {
				t.Errorf("%q: %v points outside the text", text, err)
			}
			return
		}
		for _, s := range all {
			again, err := Parse(s.String())
			if err != nil || len(again) != 1 || again[0] != s {
				t.Errorf("%q: %+v is written %s, and read as %+v, %v", text, s, s, again, err)
			}
		}
	})
}
