package matrix_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/matrix"
)

// say writes a matrix as "a b: a-b 1ms, b-a 2ms ±1ms 0.1% 10mbit".
func say(m matrix.Matrix) string {
	var links []string
	for _, l := range m.Links {
		text := fmt.Sprintf("%s-%s %s", l.Between[0], l.Between[1], l.RTT)
		if l.Jitter != "" {
			text += " ±" + string(l.Jitter)
		}
		if l.Loss != nil {
			text += fmt.Sprintf(" %v%%", float64(*l.Loss.Percent))
		}
		if l.Rate != nil {
			text += " " + l.Rate.PerSecond
		}
		links = append(links, text)
	}
	return strings.Join(m.Zones, " ") + ": " + strings.Join(links, ", ")
}

const header = "from,to,rtt_ms,jitter_ms,loss_percent,rate_mbit\n"

func TestRead(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"pairs":                     {"from,to,rtt_ms\nus,eu,147\nus,ap,106\neu,ap,219\n", "us eu ap: us-eu 147ms, us-ap 106ms, eu-ap 219ms"},
		"all columns":               {header + "a,b,20,1.5,0.01,1000\n", "a b: a-b 20ms ±1.5ms 0.01% 1000mbit"},
		"cells that say nothing":    {header + "a,b,20,,,\na,c,0,0,0,0.5\n", "a b c: a-b 20ms, a-c 0ms 0.5mbit"},
		"some columns, in disorder": {"from,to,rtt_ms,rate_mbit,jitter_ms\na,b,20,10,2\n", "a b: a-b 20ms ±2ms 10mbit"},
		"both orders":               {"from,to,rtt_ms\na,b,103.435\nb,a,104.169\n", "a b: a-b 103.435ms, b-a 104.169ms"},
		"both orders alike":         {header + "b,a,1,1,1,1\na,b,1.0,01,1.00,1\n", "b a: b-a 1ms ±1ms 1% 1mbit"},
		"alike but for the loss":    {header + "a,b,1,,1,\nb,a,1,,,\n", "a b: a-b 1ms 1%, b-a 1ms"},
		"alike but for the rate":    {header + "a,b,1,,,1\nb,a,1,,,2\n", "a b: a-b 1ms 1mbit, b-a 1ms 2mbit"},
		"alike but for jitter":      {header + "a,b,1,1,,\nb,a,1,,,\n", "a b: a-b 1ms ±1ms, b-a 1ms"},
		"within a zone":             {"from,to,rtt_ms\na,a,0.5\na,b,2\n", "a b: a-a 0.5ms, a-b 2ms"},
		"numbers":                   {"from,to,rtt_ms\na,b,007.500\na,c,0.001\nb,c,600000\nc,b,599999.999999\n", "a b c: a-b 7.5ms, a-c 0.001ms, b-c 600000ms, c-b 599999.999999ms"},
		"names of zones":            {"from,to,rtt_ms\nus-east-1a,1.B_c,1\n", "us-east-1a 1.B_c: us-east-1a-1.B_c 1ms"},
		"a header in capitals":      {"From,To,RTT_ms,Loss_Percent\na,b,1,2\n", "a b: a-b 1ms 2%"},

		"square":                   {"rtt_ms,a,b,c\na,1,2,3\nb,2,1,4\nc,3,4,1\n", "a b c: a-a 1ms, a-b 2ms, a-c 3ms, b-b 1ms, b-c 4ms, c-c 1ms"},
		"square, one half":         {",a,b,c\na,,2,3\nb,,,4\nc,,,\n", "a b c: a-b 2ms, a-c 3ms, b-c 4ms"},
		"square, the other half":   {",a,b,c\na,,,\nb,2,,\nc,3,4,\n", "a b c: b-a 2ms, c-a 3ms, c-b 4ms"},
		"square, halves differ":    {",a,b\na,0,103.435\nb,104.169,0\n", "a b: a-a 0ms, a-b 103.435ms, b-a 104.169ms, b-b 0ms"},
		"square, rows in disorder": {",a,b\nb,2,\na,,1\n", "a b: a-b 1ms, b-a 2ms"},

		"comments and empty lines":      {"# of 2030, \"dated\n\n  # indented\n\"# quoted, by a spreadsheet\",,\nfrom,to,rtt_ms\n\n,,\n#a,b,1\na,b,2\n   \n#,,\n", "a b: a-b 2ms"},
		"byte order mark, CRLF, spaces": {"\ufefffrom, to ,rtt_ms\r\n a ,\"b\", 2 \r\n", "a b: a-b 2ms"},
		"spaces before quotes":          {"from, \"to\",\t\"rtt_ms\"\n \"a\", \"b\",  \"2\"\n", "a b: a-b 2ms"},
		"quotes in comments":            {"\ufeff # of \"2030\n#\"\nfrom,to,rtt_ms\n\t# a,\"b\",1\n\u00a0#\"\r\na,b,2\n  #\"", "a b: a-b 2ms"},
		"mark and comment":              {"\ufeff# x\n,a,b\na,,1\nb,,\n", "a b: a-b 1ms"},
		"no end of line":                {"from,to,rtt_ms\na,b,1", "a b: a-b 1ms"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := matrix.Read(strings.NewReader(c.text))
			if err != nil {
				t.Fatal(err)
			}
			checkValid(t, m)
			if diff := cmp.Diff(c.want, say(m)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMostZones(t *testing.T) {
	for zones, ok := range map[int]bool{2: true, 16: true, 17: false} {
		var names, cells []string
		pairs := "from,to,rtt_ms\n"
		for i := range zones {
			names = append(names, fmt.Sprintf("z%02d", i))
			cells = append(cells, fmt.Sprint(i+1))
			pairs += fmt.Sprintf("z00,z%02d,1\n", i)
		}
		square := "," + strings.Join(names, ",") + "\n"
		for i, name := range names {
			cells[i] = "0" // all rows differ
			square += name + "," + strings.Join(cells, ",") + "\n"
		}
		for _, text := range []string{pairs, square} {
			m, err := matrix.Read(strings.NewReader(text))
			if (err == nil) != ok {
				t.Errorf("%d zones: %v", zones, err)
			}
			if !ok && !strings.Contains(fmt.Sprint(err), `"z16": want at most 16 zones`) {
				t.Errorf("%d zones: %v", zones, err)
			}
			if err == nil {
				checkValid(t, m)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	const pairs = "from,to,rtt_ms\na,b,1\n"
	one := func(cells string) string { return "# a comment\n" + header + cells + "\n" }
	for name, c := range map[string]struct{ text, want string }{
		"nothing":           {"", "it is empty: want commas"},
		"only comments":     {"# a\n\n , \n", "it is empty: want commas"},
		"no UTF-8":          {"from,to,rtt_ms\na,b\xff,1\n", "it is no text in UTF-8"},
		"a quote":           {pairs + "a,b\"c,1\n", `row 3, byte 4: bare " in non-quoted`},
		"an open quote":     {pairs + "a,\"b,1\nc,d,1\ne,f,1\n", "row 3 and those after it: extraneous or missing"},
		"one open at last":  {pairs + "a,\"b,1", "row 3, byte 7: extraneous or missing"},
		"one too many":      {pairs + "a,\"b\"c\",1\n", "row 3, byte 5: extraneous or missing"},
		"after comments":    {"  # \"\n\n" + pairs + "a,c,x\n", `row 5, column 3 (rtt_ms): "x"`},
		"other separators":  {"from;to;rtt_ms\na;b;1\n", `row 1, column 1: "from;to;rtt_ms": want commas`},
		"only a header":     {"from,to,rtt_ms\n", "it names fewer than two zones"},
		"one zone":          {"from,to,rtt_ms\na,a,1\n", "it names fewer than two zones"},
		"no rtt_ms":         {"from,to\na,b\n", `row 1, column 2: "to": want the column rtt_ms`},
		"another column":    {"from,to,rtt\na,b,1\n", `row 1, column 3: "rtt": want each column once`},
		"a column too many": {"from,to,rtt_ms,note\na,b,1,x\n", `row 1, column 4: "note": want each column once`},
		"a column twice":    {"from,to,rtt_ms,rate_mbit,rate_mbit\na,b,1,1,1\n", `row 1, column 5: "rate_mbit": want each column once`},
		"a column unnamed":  {"from,to,rtt_ms,\na,b,1,\n", `row 1, column 4: "": want each column once`},
		"no header":         {"a,b,1\na,c,2\n", `row 1, column 2: "b": want a row of this zone too, in a square table; a list of pairs has a first row of from,to,rtt_ms`},
		"a cell too many":   {pairs + "a,c,1,5\n", `row 3, column 4: "5": the row has 4 cells: want 3`},
		"a cell too few":    {pairs + "a,c\n", `row 3, column 2: "c": the row has 2 cells: want 3`},

		"negative":          {one("a,b,-1,,,"), `row 3, column 3 (rtt_ms): "-1": want milliseconds`},
		"signed":            {one("a,b,+1,,,"), `row 3, column 3 (rtt_ms): "+1": want milliseconds`},
		"NaN":               {one("a,b,NaN,,,"), `(rtt_ms): "NaN": want`},
		"infinite":          {one("a,b,inf,,,"), `(rtt_ms): "inf": want`},
		"exponent":          {one("a,b,1e3,,,"), `(rtt_ms): "1e3": want`},
		"hexadecimal":       {one("a,b,0x10,,,"), `(rtt_ms): "0x10": want`},
		"a unit":            {one("a,b,1ms,,,"), `(rtt_ms): "1ms": want`},
		"a comma":           {one("a,b,\"1,5\",,,"), `(rtt_ms): "1,5": want`},
		"no digits":         {one("a,b,.5,,,"), `(rtt_ms): ".5": want`},
		"other digits":      {one("a,b,１,,,"), `(rtt_ms): "１": want`},
		"empty":             {one("a,b,,,,"), `(rtt_ms): "": want`},
		"too fine":          {one("a,b,1.0000001,,,"), `(rtt_ms): "1.0000001": want`},
		"too little":        {one("a,b,0.0009,,,"), `(rtt_ms): "0.0009": want`},
		"too long":          {one("a,b,600000.1,,,"), `(rtt_ms): "600000.1": want`},
		"far too long":      {one("a,b,99999999999,,,"), `(rtt_ms): "99999999999": want`},
		"jitter over rtt":   {one("a,b,1,1.1,,"), `row 3, column 4 (jitter_ms): "1.1": want`},
		"jitter of nothing": {one("a,b,0,1,,"), `(jitter_ms): "1": want`},
		"too much jitter":   {one("a,b,5000,2001,,"), `(jitter_ms): "2001": want`},
		"jitter by words":   {one("a,b,1,x,,"), `(jitter_ms): "x": want`},
		"loss over 100":     {one("a,b,1,,100.1,"), `row 3, column 5 (loss_percent): "100.1": want`},
		"negative loss":     {one("a,b,1,,-1,"), `(loss_percent): "-1": want`},
		"loss with a sign":  {one("a,b,1,,1%,"), `(loss_percent): "1%": want`},
		"loss too fine":     {one("a,b,1,,0.00001,"), `(loss_percent): "0.00001": want`},
		"no rate":           {one("a,b,1,,,0"), `row 3, column 6 (rate_mbit): "0": want`},
		"rate too low":      {one("a,b,1,,,0.007"), `(rate_mbit): "0.007": want`},
		"rate too high":     {one("a,b,1,,,100001"), `(rate_mbit): "100001": want`},
		"no zone":           {one(",b,1,,,"), `row 3, column 1 (from): "": want the name of a zone`},
		"zone with a space": {one("a,b c,1,,,"), `row 3, column 2 (to): "b c": want the name of a zone`},
		"zone with a dash":  {one("a,b-,1,,,"), `(to): "b-": want the name of a zone`},
		"zone too long":     {one("a," + strings.Repeat("b", 64) + ",1,,,"), `want the name of a zone`},
		"a formula":         {one("a,=1+1,1,,,"), `(to): "=1+1": want the name of a zone`},
		"pair twice":        {pairs + "b,a,1\na,b,1\n", `row 4, column 2 (to): "b": row 2 is from a to b too`},
		"zone itself twice": {pairs + "a,a,1\na,a,2\n", `row 4, column 2 (to): "a": row 3 is from a to a too`},
		"several at once":   {pairs + "a,?,-1\n", "row 3, column 2 (to): \"?\": want"},
		"and the other":     {pairs + "a,?,-1\n", "row 3, column 3 (rtt_ms): \"-1\": want"},

		"square of one":           {",a\na,1\n", `row 1, column 2: "a": want commas`},
		"square says nothing":     {",a,b\na,,\nb,,\n", "nothing is between its zones"},
		"square with a bad cell":  {",a,b\na,0,1ms\nb,1,0\n", `row 2, column 3 (a to b): "1ms": want milliseconds`},
		"square, zone twice":      {",a,a\na,1,1\n", `row 1, column 3: "a": want each zone once`},
		"square, unnamed zone":    {",a,\na,1,1\n", `row 1, column 3: "": want the name of a zone`},
		"square, another zone":    {",a,b\na,1,1\nc,1,1\n", `row 3, column 1: "c": want a zone of the first row: a, b`},
		"square, row twice":       {",a,b\na,1,1\na,2,1\nb,1,1\n", `row 3, column 1: "a": want one row of each zone`},
		"square, row missing":     {",a,b,c\na,1,1,1\nb,1,1,1\n", `row 1, column 4: "c": want a row of this zone too`},
		"square, cell missing":    {",a,b\na,1\nb,1,1\n", `row 2, column 2: "1": the row has 2 cells: want 3`},
		"square, a cell too many": {",a,b\na,1,1,9\nb,1,1\n", `row 2, column 4: "9": the row has 4 cells: want 3`},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := matrix.Read(strings.NewReader(c.text))
			if err == nil {
				t.Fatalf("it is %s", say(m))
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
		})
	}
}

// A wrong round trip is told once, and not as one that the jitter is above of.
func TestOneErrorForOneMistake(t *testing.T) {
	_, err := matrix.Read(strings.NewReader(header + "a,b,x,5,,\n"))
	if err == nil || strings.Contains(err.Error(), "jitter_ms): ") {
		t.Error(err)
	}
}

// A file that is no matrix does not become an error of its size.
func TestManyErrors(t *testing.T) {
	_, err := matrix.Read(strings.NewReader(header + strings.Repeat("?,?,?,?,?,?\n", 1000)))
	if err == nil || strings.Count(err.Error(), "row ") != 10 || !strings.HasSuffix(err.Error(), "\nand more") {
		t.Error(err)
	}
	if _, err := matrix.Read(strings.NewReader(header + strings.Repeat("x", 1000) + ",b,1,,,\n")); err == nil || len(err.Error()) > 600 {
		t.Error(err)
	}
}

func TestSize(t *testing.T) {
	text := "from,to,rtt_ms\na,b,1\n"
	fits := text + strings.Repeat("#", matrix.MaxSize-len(text))
	if m, err := matrix.Read(strings.NewReader(fits)); err != nil || say(m) != "a b: a-b 1ms" {
		t.Error(say(m), err)
	}
	if _, err := matrix.Read(strings.NewReader(fits + "#")); err == nil || !strings.Contains(err.Error(), "longer than 1048576 bytes") {
		t.Error(err)
	}
	broken := errors.New("broken")
	if _, err := matrix.Read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// checkValid checks that a matrix is what it says it is, and what the custom resource takes.
func checkValid(t *testing.T, m matrix.Matrix) {
	t.Helper()
	if len(m.Zones) < 2 || len(m.Zones) > matrix.MaxZones {
		t.Errorf("%d zones", len(m.Zones))
	}
	if len(m.Links) < 1 || len(m.Links) > 256 {
		t.Errorf("%d links", len(m.Links))
	}
	seen := map[[2]v1alpha1.ZoneName]bool{}
	for _, l := range m.Links {
		between := [2]v1alpha1.ZoneName(l.Between)
		if seen[between] {
			t.Errorf("two links of %q", between)
		}
		seen[between] = true
		checkLink(t, m.Zones, l)
	}
}
