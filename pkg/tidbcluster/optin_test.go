package tidbcluster

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseOptIn(t *testing.T) {
	tests := map[string]struct {
		annotations map[string]string
		covers      []Component
		maxDuration time.Duration
		native      bool
		problems    []string // what each must contain
	}{
		"if there are no annotations, nothing": {},
		"if inject is true, every component": {
			annotations: map[string]string{"tidelay.io/inject": "true"},
			covers:      Components(),
		},
		"if inject is false, nothing": {
			annotations: map[string]string{"tidelay.io/inject": "false"},
		},
		"if inject is nearly true, nothing, and say so": {
			annotations: map[string]string{"tidelay.io/inject": "True"},
			problems:    []string{`tidelay.io/inject is "True"`},
		},
		"if inject is empty, nothing, and say so": {
			annotations: map[string]string{"tidelay.io/inject": ""},
			problems:    []string{`tidelay.io/inject is ""`},
		},
		"if components are named, only those": {
			annotations: map[string]string{"tidelay.io/inject": "true", "tidelay.io/components": "tikv, pd"},
			covers:      []Component{PD, TiKV},
		},
		"if a component is unknown, only the others, and say so": {
			annotations: map[string]string{"tidelay.io/inject": "true", "tidelay.io/components": "pd,tikvv"},
			covers:      []Component{PD},
			problems:    []string{`tidelay.io/components: unknown component "tikvv"; accepted: discovery, pd,`},
		},
		"if all components are unknown, nothing, and say so": {
			annotations: map[string]string{"tidelay.io/inject": "true", "tidelay.io/components": "all,*"},
			problems:    []string{`"all"`, `"*"`},
		},
		"if the list of components is empty, nothing, and say so": {
			annotations: map[string]string{"tidelay.io/inject": "true", "tidelay.io/components": ""},
			problems:    []string{`unknown component ""`},
		},
		"if a native sidecar is asked for, one": {
			annotations: map[string]string{"tidelay.io/inject": "true", "tidelay.io/sidecar": "native"},
			covers:      Components(),
			native:      true,
		},
		"if a container is asked for, one": {
			annotations: map[string]string{"tidelay.io/inject": "true", "tidelay.io/sidecar": "container"},
			covers:      Components(),
		},
		"if something else is asked for, a container, and say so": {
			annotations: map[string]string{"tidelay.io/inject": "true", "tidelay.io/sidecar": "Native"},
			covers:      Components(),
			problems:    []string{`tidelay.io/sidecar is "Native", taken as "container"; accepted: "container", "native"`},
		},
		"if a duration is named, it": {
			annotations: map[string]string{"tidelay.io/inject": "true", "tidelay.io/max-duration": "90m"},
			covers:      Components(),
			maxDuration: 90 * time.Minute,
		},
		"if a duration is too long, none, and say so": {
			annotations: map[string]string{"tidelay.io/inject": "true", "tidelay.io/max-duration": "721h"},
			covers:      Components(),
			problems:    []string{`tidelay.io/max-duration is "721h"; accepted: a time with its unit from 1s to 720h`},
		},
		"if a duration has no unit, none, and say so": {
			annotations: map[string]string{"tidelay.io/inject": "true", "tidelay.io/max-duration": "60"},
			covers:      Components(),
			problems:    []string{`tidelay.io/max-duration is "60"`},
		},
		"if components are named without inject, nothing": {
			annotations: map[string]string{"tidelay.io/components": "pd"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := ParseOptIn(test.annotations)
			covered := slices.DeleteFunc(Components(), func(c Component) bool { return !got.Covers(c) })
			if diff := cmp.Diff(slices.Sorted(slices.Values(test.covers)), covered, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("covers (-want +got):\n%s", diff)
			}
			if got.MaxDuration != test.maxDuration {
				t.Errorf("max duration %s, want %s", got.MaxDuration, test.maxDuration)
			}
			if got.Native != test.native {
				t.Errorf("native is %t", got.Native)
			}
			if len(got.Problems) != len(test.problems) {
				t.Fatalf("problems %q, want %d", got.Problems, len(test.problems))
			}
			for i, want := range test.problems {
				if !strings.Contains(got.Problems[i], want) {
					t.Errorf("problem %q does not say %q", got.Problems[i], want)
				}
			}
		})
	}
}
