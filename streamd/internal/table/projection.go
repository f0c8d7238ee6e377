package table

// parseProjection reads a projection expression. msg is what is wrong with it,
// empty if nothing is.
func parseProjection(src string, ph *placeholders) (paths []path, msg string) {
	p := newParser(src, ph)
	defer p.free()
	if !p.failed() {
		paths = append(paths, p.path())
		for p.symbol(",") {
			paths = append(paths, p.path())
		}
		p.end()
		if !p.failed() {
			p.checkOverlap(paths)
		}
	}
	return paths, p.err()
}

// project returns the parts of an item at the given paths. No paths, that is
// nil, means all of it.
func project(item []attr, paths []path) []attr {
	if paths == nil {
		return item
	}
	v, _ := projectValue(&value{kind: kindM, kids: item}, paths, 0)
	return v.kids
}

// projectValue returns the parts of v at the paths from their given step on.
func projectValue(v *value, paths []path, depth int) (value, bool) {
	if len(paths) == 1 && len(paths[0]) == depth {
		return *v, true
	}
	out := value{kind: v.kind}
	if v.kind != kindM && v.kind != kindL {
		return out, false
	}
	for i := range v.kids {
		want := step{index: i}
		if v.kind == kindM {
			want = step{v.kids[i].name, -1}
		}
		var inside []path
		for _, p := range paths {
			if len(p) > depth && p[depth] == want {
				inside = append(inside, p)
			}
		}
		if inside == nil {
			continue
		}
		if part, ok := projectValue(&v.kids[i].value, inside, depth+1); ok {
			out.kids = append(out.kids, attr{v.kids[i].name, part})
		}
	}
	return out, len(out.kids) > 0
}
