package profile_test

import (
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/profile"
)

func TestProfiles(t *testing.T) {
	for _, name := range profile.Names() {
		t.Run(name, func(t *testing.T) {
			p, ok := profile.Named(name)
			if !ok || p.Name != name {
				t.Errorf("its name finds %q", p.Name)
			}
			if p.What == "" {
				t.Error("nothing says what it is about")
			}
			if len(p.Zones) < 2 || !slices.IsSorted(p.Zones) || len(slices.Compact(slices.Clone(p.Zones))) != len(p.Zones) {
				t.Errorf("zones %q: want at least two different ones in order of name", p.Zones)
			}
			checkLinks(t, p)
			checkSources(t, p.Sources)
		})
	}
}

// checkLinks checks that there is one link of every two zones, with a time above 0.
func checkLinks(t *testing.T, p profile.Profile) {
	t.Helper()
	seen := map[[2]v1alpha1.ZoneName]int{}
	for _, link := range p.Links {
		if len(link.Between) != 2 {
			t.Fatalf("a link between %q", link.Between)
		}
		for _, zone := range link.Between {
			if !slices.Contains(p.Zones, string(zone)) {
				t.Errorf("a link with the zone %q, and zones are %q", zone, p.Zones)
			}
		}
		seen[[2]v1alpha1.ZoneName(slices.Sorted(slices.Values(link.Between)))]++
		if rtt, err := fault.ParseDelay(string(link.RTT)); err != nil || rtt == 0 {
			t.Errorf("between %q: rtt %q: %v", link.Between, link.RTT, err)
		}
	}
	for pair, n := range seen {
		if n > 1 {
			t.Errorf("%d links of %q", n, pair)
		}
	}
	for i, a := range p.Zones {
		for _, b := range p.Zones[i+1:] {
			if seen[[2]v1alpha1.ZoneName{v1alpha1.ZoneName(a), v1alpha1.ZoneName(b)}] == 0 {
				t.Errorf("no link of %s and %s", a, b)
			}
		}
	}
}

func checkSources(t *testing.T, sources []profile.Source) {
	t.Helper()
	if len(sources) == 0 {
		t.Error("nothing says where its numbers come from")
	}
	for _, s := range sources {
		if day, err := time.Parse(time.DateOnly, s.Date); err != nil || day.Year() < 2015 {
			t.Errorf("date %q: %v", s.Date, err)
		}
		if u, err := url.Parse(s.Address); err != nil || u.Scheme != "https" || u.Host == "" {
			t.Errorf("address %q: %v", s.Address, err)
		}
		if s.Says == "" {
			t.Errorf("%s: nothing says what is taken from it", s.Address)
		}
	}
}

// The enum of the custom resource and this package list the same profiles.
func TestNamesAreThoseOfTheKind(t *testing.T) {
	source, err := os.ReadFile("../../apis/v1alpha1/networktopology.go")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`// \+kubebuilder:validation:Enum=(.*)\n\tProfile `).FindSubmatch(source)
	if match == nil {
		t.Fatal("the type has no enum of profiles")
	}
	var want []string
	for name := range strings.SplitSeq(string(match[1]), ";") {
		want = append(want, strings.Trim(name, `"`))
	}
	if got := profile.Names(); !slices.Equal(got, want) {
		t.Errorf("profiles are %q, and the kind's enum has %q", got, want)
	}
}

func TestUnknown(t *testing.T) {
	for _, name := range []string{"", "three", "Three-AZ"} {
		if p, ok := profile.Named(name); ok {
			t.Errorf("%q is %v", name, p)
		}
	}
}
