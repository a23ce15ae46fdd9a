package injection

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Config has the settings of every agent. They are made by whoever runs the
// injector; the author of a pod can change none of them. A Config is not changed
// once it is in use.
type Config struct {
	// Image is the agent's image, with a registry, tag or digest as needed. IsImage
	// accepts it, and it stays the same while the program runs.
	Image string
	// PullPolicy is Always, IfNotPresent or Never.
	PullPolicy corev1.PullPolicy
	// PullSecrets are names of Secrets in the pod's namespace that are added to its
	// imagePullSecrets.
	PullSecrets []string
	// Resources are the agent's requests and limits, each of CPU and memory; see
	// method resources for which of them a pod gets.
	Resources corev1.ResourceRequirements
	// MaxDuration is the agent's --max-duration where the TidbCluster names none,
	// from api.MinDuration to api.MaxDuration, or 0 for no bound.
	MaxDuration time.Duration
	// TokenSecret is the name of a Secret in the pod's namespace. Its key "token" is
	// the agent's bearer token. If it is empty, the agent asks for no token.
	TokenSecret string
	// Version is the injector's version, for the status annotation.
	Version string
}

// minMemory is the least memory limit with which an agent can queue packets.
const minMemory = "32Mi"

// DefaultResources returns a Config's Resources for when none are configured. An
// idle agent takes about 14 MiB of memory and almost no CPU. Delaying 10,000
// packets/s takes less than half a core.
func DefaultResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse(minMemory)},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
	}
}

// imagePattern accepts every image reference, and no character that a shell or JSON
// would not take literally.
var imagePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)

// IsImage reports whether s can be a Config's Image.
func IsImage(s string) bool { return imagePattern.MatchString(s) }

// Validate returns an error with every problem of what the configuration file sets
// in c. Each problem names the setting as in the file, its value and what is
// accepted.
func (c Config) Validate() error {
	var problems []error
	check := func(ok bool, setting, value, want string) {
		if !ok {
			problems = append(problems, fmt.Errorf("agent.%s %.100q: want %s", setting, value, want))
		}
	}
	policies := []corev1.PullPolicy{corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever}
	check(slices.Contains(policies, c.PullPolicy), "imagePullPolicy", string(c.PullPolicy), "Always, IfNotPresent or Never")
	for i, name := range c.PullSecrets {
		check(isObjectName(name) && slices.Index(c.PullSecrets, name) == i, fmt.Sprintf("imagePullSecrets[%d]", i), name, "the name of a Secret, each once")
	}
	check(c.TokenSecret == "" || isObjectName(c.TokenSecret), "tokenSecret", c.TokenSecret, "the name of a Secret")
	check(c.MaxDuration == 0 || c.MaxDuration >= api.MinDuration && c.MaxDuration <= api.MaxDuration,
		"maxDuration", c.MaxDuration.String(), fmt.Sprintf("from %s to %s", api.MinDuration, api.MaxDuration))
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request, limit := c.Resources.Requests[name], c.Resources.Limits[name]
		check(request.Sign() > 0, "resources.requests."+string(name), request.String(), "more than 0")
		check(limit.Cmp(request) >= 0, "resources.limits."+string(name), limit.String(), "at least the request, "+request.String())
	}
	memory := c.Resources.Limits.Memory()
	check(memory.Cmp(resource.MustParse(minMemory)) >= 0, "resources.limits.memory", memory.String(), "at least "+minMemory)
	for which, list := range map[string]corev1.ResourceList{"requests": c.Resources.Requests, "limits": c.Resources.Limits} {
		for name, quantity := range list {
			check(name == corev1.ResourceCPU || name == corev1.ResourceMemory, "resources."+which+"."+string(name), quantity.String(), "cpu and memory only")
		}
	}
	check(len(c.Resources.Claims) == 0, "resources.claims", fmt.Sprint(len(c.Resources.Claims)), "cpu and memory only")
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

func isObjectName(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }
