package plugin

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/networkfault/profile"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/measured"
	"github.com/tidelay/tidelay/pkg/plugin/object"
	"github.com/tidelay/tidelay/pkg/plugin/shape"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// completeTime is how long the API server may take to answer a person who waits for a word.
const completeTime = 2 * time.Second

const noFiles = cobra.ShellCompDirectiveNoFileComp

// words are words that could come next. What can't be read has none.
type words func(ctx context.Context, c client.Client, namespace string) []string

// ask returns the words that begin as what is written does.
func (a *app) ask(cmd *cobra.Command, of words) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, namespace, err := a.connect()
	if err != nil {
		return nil, noFiles
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
	defer cancel()
	return of(ctx, c, namespace), noFiles
}

// clusters are the names of the TidbClusters.
func clusters(ctx context.Context, c client.Client, namespace string) []string {
	return look.Names(ctx, c, namespace)
}

// completeCluster completes the first argument, a TidbCluster.
func (a *app) completeCluster(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return a.ask(cmd, clusters)
}

func (a *app) completeFault(cmd *cobra.Command) {
	cmd.ValidArgsFunction = a.completeCluster
	register(cmd, "from", a.completeSelector)
	register(cmd, "to", a.completeSelector)
	register(cmd, "protocol", cobra.FixedCompletions([]string{"tcp", "udp", "icmp"}, noFiles))
	completeWriting(cmd)
}

func (a *app) completePartition(cmd *cobra.Command) {
	a.completeFault(cmd)
	register(cmd, "shape", cobra.FixedCompletions(shape.Names(), noFiles))
	register(cmd, "of", a.completeSelector)
}

func (a *app) completeTopology(cmd *cobra.Command) {
	cmd.ValidArgsFunction = a.completeCluster
	register(cmd, "profile", cobra.FixedCompletions(profile.Names(), noFiles))
	register(cmd, "matrix", cobra.FixedCompletions([]string{"csv"}, cobra.ShellCompDirectiveFilterFileExt))
	completeWriting(cmd)
}

func (a *app) completeRun(cmd *cobra.Command) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) != 1 {
			return a.completeCluster(cmd, args, text)
		}
		all, err := object.Presets()
		if err != nil {
			return nil, noFiles
		}
		var names []string
		for _, p := range all {
			names = append(names, cobra.CompletionWithDesc(p.Name, p.What()))
		}
		return names, noFiles
	}
	completeWriting(cmd)
}

func (a *app) completeClear(cmd *cobra.Command) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.ask(cmd, func(ctx context.Context, c client.Client, namespace string) []string {
			there, _ := objectsOf(ctx, c, namespace) // those that may be seen
			return clearable(there, clusters(ctx, c, namespace), args, text)
		})
	}
}

func (a *app) completeReport(cmd *cobra.Command, outputs ...string) {
	cmd.ValidArgsFunction = a.completeCluster
	register(cmd, "output", cobra.FixedCompletions(outputs, noFiles))
}

func (a *app) completeAttach(cmd *cobra.Command) {
	cmd.ValidArgsFunction = a.completeCluster
	register(cmd, "components", cobra.FixedCompletions(componentNames(), noFiles))
	completeWriting(cmd)
}

func (a *app) completeMatrix(cmd *cobra.Command) {
	cmd.ValidArgsFunction = a.completeCluster
	register(cmd, "by", cobra.FixedCompletions(measured.Bys(), noFiles))
	register(cmd, "output", cobra.FixedCompletions(matrixOutputs(), noFiles))
}

func completeWriting(cmd *cobra.Command) {
	register(cmd, "output", cobra.FixedCompletions([]string{"yaml", "json", "name"}, noFiles))
	if cmd.Flags().Lookup("allow") != nil {
		register(cmd, "allow", cobra.FixedCompletions(allowances(), noFiles))
	}
}

// completeGlobals completes the namespace.
func (a *app) completeGlobals(root *cobra.Command) {
	register(root, "namespace", a.completeNamespace)
}

func (a *app) completeNamespace(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.ask(cmd, func(ctx context.Context, c client.Client, _ string) []string {
		var all corev1.NamespaceList
		if err := c.List(ctx, &all); err != nil {
			return nil
		}
		var names []string
		for _, n := range all.Items {
			names = append(names, n.Name)
		}
		return names
	})
}

// bare returns a word without what a shell may leave in it that it has completed: fish passes on
// what was typed. No selector has any of it.
func bare(text string) string { return strings.NewReplacer(`\`, "", "'", "", `"`, "").Replace(text) }

// completeSelector completes the last of some selectors, parted by commas.
func (a *app) completeSelector(_ *cobra.Command, _ []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
	directive := noFiles | cobra.ShellCompDirectiveNoSpace
	if word := bare(text); word != text {
		text, directive = word, noFiles // without a space fish compares what was typed
	}
	before := text[:strings.LastIndexByte(text, ',')+1]
	var all []cobra.Completion
	for _, c := range tidbcluster.Components() {
		all = append(all, before+string(c))
		for _, pick := range selector.Picks(c) {
			all = append(all, before+string(c)+"("+pick+")")
		}
	}
	for _, word := range []string{"all", "others", "pod/", "cidr/"} {
		all = append(all, before+word)
	}
	all = slices.DeleteFunc(all, func(one string) bool { return !strings.HasPrefix(one, text) })
	return all, directive
}

// register has a flag completed. That fails only for a flag that there is not.
func register(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		cobra.CompErrorln(err.Error())
	}
}
