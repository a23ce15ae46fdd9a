//go:build apiserver

package apiserver

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/plugin"
)

// attacherRole is the shipped role for people who attach agents.
const attacherRole = "tidelay-attacher"

// missedPods makes the TidbCluster basic with two pods that run without an agent, since it
// was annotated later.
func (n namespace) missedPods() (pods []*corev1.Pod) {
	n.t.Helper()
	tc := n.cluster("basic", nil)
	for _, component := range []string{"pd", "tikv"} {
		pod, _ := n.post(n.pod("basic-"+component+"-0", component, n.statefulSet("basic-"+component, tc), func(p *corev1.Pod) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: new(true), RunAsUser: new(int64(1000))}
		}), wet)
		pod.Status.Phase = corev1.PodRunning
		must(n.t, world.client.Status().Update(n.t.Context(), pod))
		pods = append(pods, pod)
	}
	n.annotate(tc, "true")
	return pods
}

// pluginAs runs the plugin in the namespace with the kubeconfig of a user of a name, and
// returns what it printed and its exit status.
func (n namespace) pluginAs(user string, args ...string) (string, int) {
	n.t.Helper()
	added, err := world.plane.AddUser(envtest.User{Name: user}, nil)
	must(n.t, err)
	content, err := added.KubeConfig()
	must(n.t, err)
	path := filepath.Join(n.t.TempDir(), "kubeconfig")
	must(n.t, os.WriteFile(path, content, 0o600))
	var out bytes.Buffer
	status := plugin.Main(n.t.Context(), plugin.Surroundings{
		IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out},
	}, append([]string{"--kubeconfig", path, "--namespace", n.name}, args...))
	return out.String(), status
}

// giveAttacher binds the shipped roles to a user of a name, as docs/security.md says, and
// waits until they are in force.
func (n namespace) giveAttacher(user string) {
	n.t.Helper()
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}}
	for _, b := range []struct{ namespace, kind string }{{n.name, "ClusterRole"}, {systemNamespace, "Role"}} {
		n.make(&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: user},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: b.kind, Name: attacherRole}, Subjects: subjects,
		})
	}
	for _, a := range []access{
		{Verb: "patch", Resource: "pods", Subresource: "ephemeralcontainers", Namespace: n.name, Name: "any"},
		{Verb: "get", Group: "apps", Resource: "deployments", Namespace: systemNamespace, Name: injectorName},
	} {
		eventually(n.t, 30*time.Second, func() error { return wantUserAllowed(n.t.Context(), user, nil, true, a) })
	}
}

func (n namespace) attachedTo(pod *corev1.Pod) []injection.Agent {
	n.t.Helper()
	must(n.t, world.client.Get(n.t.Context(), client.ObjectKeyFromObject(pod), pod))
	return injection.Attached(pod)
}

// Whoever has the shipped roles attaches agents, and has them attached again where they ended.
func TestAttach(t *testing.T) {
	n := newNamespace(t)
	pods := n.missedPods()
	user := n.name + "-attacher"
	n.giveAttacher(user)

	if said, status := n.pluginAs(user, "attach", "basic", "--dry-run"); status != 0 || len(n.attachedTo(pods[0])) != 0 {
		t.Fatalf("a dry run: exit status %d, %d agents\n%s", status, len(n.attachedTo(pods[0])), said)
	}
	said, status := n.pluginAs(user, "attach", "basic", "--for=30m")
	if status != 0 || strings.Contains(said, "you may not") {
		t.Fatalf("exit status %d:\n%s", status, said)
	}
	for _, pod := range pods {
		attached := n.attachedTo(pod)
		if len(attached) != 1 || attached[0].Container.Image != world.agentImage(t) || attached[0].MaxDuration() != 30*time.Minute {
			t.Errorf("attached to %s: %+v", pod.Name, attached)
		}
	}

	// kubelet says what became of them.
	states := []corev1.ContainerState{{Running: &corev1.ContainerStateRunning{}}, {Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}}}
	for i, pod := range pods {
		pod.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: agentName, State: states[i]}}
		must(t, world.client.Status().Update(t.Context(), pod))
	}
	if said, status = n.pluginAs(user, "attach", "basic"); status != 0 {
		t.Fatalf("again: exit status %d:\n%s", status, said)
	}
	if alive, dead := n.attachedTo(pods[0]), n.attachedTo(pods[1]); len(alive) != 1 || len(dead) != 2 || dead[1].Container.Name != "tidelay-agent-2" {
		t.Errorf("attached again: %d and %d agents\n%s", len(alive), len(dead), said)
	}
	if !strings.Contains(said, "tidelay-agent ended: OOMKilled, exit status 137") {
		t.Errorf("the dead one is not named:\n%s", said)
	}
}

// Without the right, and where Pod Security refuses the agent, nothing is attached to any pod.
func TestAttachIsRefused(t *testing.T) {
	n := newNamespace(t)
	pods := n.missedPods()
	refused := func(user, want string) {
		t.Helper()
		said, status := n.pluginAs(user, "attach", "basic", "--image", "tidelay/agent:mine")
		if status != 1 || !strings.Contains(said, want) || !strings.Contains(said, "nothing was changed") {
			t.Errorf("exit status %d, want 1 and %q:\n%s", status, want, said)
		}
		for _, pod := range pods {
			if attached := n.attachedTo(pod); len(attached) != 0 {
				t.Errorf("attached to %s: %+v", pod.Name, attached)
			}
		}
	}
	// Reads all that is needed, and may not attach.
	reader := n.name + "-reader"
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list"}},
		{APIGroups: []string{"pingcap.com"}, Resources: []string{"tidbclusters"}, Verbs: []string{"get"}},
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: reader}, Rules: rules}
	n.make(role)
	n.make(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: reader}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: reader},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: reader}},
	})
	eventually(t, 30*time.Second, func() error {
		return wantUserAllowed(t.Context(), reader, nil, true, access{Verb: "get", Group: "pingcap.com", Resource: "tidbclusters", Namespace: n.name, Name: "basic"})
	})
	refused(reader, `you lack the right "patch" on pods/ephemeralcontainers`)

	attacher := n.name + "-attacher"
	n.giveAttacher(attacher)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n.name}}
	patch := []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"baseline"}}}`)
	must(t, world.client.Patch(t.Context(), namespace, client.RawPatch("application/merge-patch+json", patch)))
	refused(attacher, `the namespace enforces Pod Security level "baseline"`)

	// Who may attach, and not read the namespace, hears it from the API server.
	role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/ephemeralcontainers"}, Verbs: []string{"patch"}})
	must(t, world.client.Update(t.Context(), role))
	eventually(t, 30*time.Second, func() error {
		return wantUserAllowed(t.Context(), reader, nil, true, access{Verb: "patch", Resource: "pods", Subresource: "ephemeralcontainers", Namespace: n.name, Name: "any"})
	})
	refused(reader, `violates PodSecurity "baseline:latest"`)
}

// The role is given to nobody by itself, and has no more than it needs.
func TestAttacherRole(t *testing.T) {
	n := newNamespace(t)
	user := n.name + "-attacher"
	n.giveAttacher(user)
	role := &rbacv1.ClusterRole{}
	must(t, world.client.Get(t.Context(), client.ObjectKey{Name: attacherRole}, role))
	for label := range role.Labels {
		if strings.Contains(label, "aggregate-to") {
			t.Errorf("it comes with another role by %s", label)
		}
	}
	for what, a := range map[string]access{
		"attach elsewhere":       {Verb: "patch", Resource: "pods", Subresource: "ephemeralcontainers", Namespace: "default", Name: "any"},
		"attach to the injector": {Verb: "patch", Resource: "pods", Subresource: "ephemeralcontainers", Namespace: systemNamespace, Name: "any"},
		"change a pod":           {Verb: "patch", Resource: "pods", Namespace: n.name, Name: "any"},
		"exec":                   {Verb: "create", Resource: "pods", Subresource: "exec", Namespace: n.name, Name: "any"},
		"reach agents":           {Verb: "get", Resource: "pods", Subresource: "proxy", Namespace: n.name, Name: "any"},
		"read Secrets":           {Verb: "get", Resource: "secrets", Namespace: systemNamespace, Name: "any"},
		"read other settings":    {Verb: "get", Resource: "configmaps", Namespace: systemNamespace, Name: "other"},
		"change a TidbCluster":   {Verb: "patch", Group: "pingcap.com", Resource: "tidbclusters", Namespace: n.name, Name: "any"},
	} {
		if err := wantUserAllowed(t.Context(), user, nil, false, a); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
