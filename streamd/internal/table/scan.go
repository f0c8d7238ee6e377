package table

// maxPage is how many bytes of items Scan and Query look at before they stop,
// whatever a filter leaves of them.
const maxPage = 1 << 20

// page gathers the items of one page of Scan or Query.
type page struct {
	d       *data
	r       *Request
	x       *index // nil for the table itself
	size    int
	scanned int
	items   [][]attr
	count   int
	last    *stored // the last item looked at
	cut     bool    // the page ended before the range
}

// scan does Scan.
func (d *data) scan(r *Request) (Response, error) {
	g, err := d.newPage(r)
	if err != nil {
		return nil, err
	}
	var all keyRange
	from, err := g.start(all)
	if err != nil {
		return nil, err
	}
	g.walk(all, from, false)
	return g.response(), nil
}

// query does Query.
func (d *data) query(r *Request) (Response, error) {
	g, err := d.newPage(r)
	if err != nil {
		return nil, err
	}
	schema := g.schema()
	rng, err := schema.rangeOf(r.keys)
	if err != nil {
		return nil, err
	}
	if name := r.filter.mentions(schema); name != "" {
		what := "Filter Expression"
		if r.p.filterCondition != nil {
			what = "QueryFilter"
		}
		return nil, invalid("%s can only contain non-primary key attributes: Primary key attribute: %s", what, name)
	}
	from, err := g.start(rng)
	if err != nil {
		return nil, err
	}
	g.walk(rng, from, r.p.backward)
	return g.response(), nil
}

// mentions returns the name of an attribute of a key on which c puts a
// condition, "" if there is none.
func (c *condition) mentions(s keySchema) string {
	if c == nil {
		return ""
	}
	for _, sub := range c.subs {
		if name := sub.mentions(s); name != "" {
			return name
		}
	}
	for i := range c.args {
		o := &c.args[i]
		if o.op == operandSize {
			o = &o.args[0]
		}
		if o.op == operandPath && s.has(o.path[0].name) {
			return o.path[0].name
		}
	}
	return ""
}

func (d *data) newPage(r *Request) (*page, error) {
	g := &page{d: d, r: r}
	if r.p.index == "" {
		return g, nil
	}
	if g.x = d.index(r.p.index); g.x == nil {
		return nil, invalid("The table does not have the specified index: %s", r.p.index)
	}
	if g.x.local {
		return g, nil
	}
	if r.p.consistent {
		return nil, invalid("Consistent reads are not supported on global secondary indexes")
	}
	if r.p.selects == "ALL_ATTRIBUTES" && g.x.projection != "ALL" {
		return nil, invalidParameter("Select type ALL_ATTRIBUTES is not supported for global secondary index %s because its projection type is not ALL", g.x.name)
	}
	return g, nil
}

// schema returns the key by which the page is ordered.
func (g *page) schema() keySchema {
	if g.x != nil {
		return g.x.schema
	}
	return g.d.schema
}

var errStartKey = invalid("The provided starting key is invalid")

// start returns the place after which the page begins, "" for the beginning.
func (g *page) start(rng keyRange) (string, error) {
	key := g.r.p.startKey
	if key == nil {
		return "", nil
	}
	base := key
	if g.x != nil {
		base = g.d.schema.of(key)
		n := len(g.d.schema)
		for _, p := range g.x.schema {
			if !g.d.schema.has(p.name) {
				n++
			}
		}
		if len(key) != n {
			return "", errStartKey
		}
	}
	if err := g.d.schema.checkKey(base); err != nil {
		return "", invalid("The provided starting key is invalid: %s", message(err))
	}
	place, hash := g.d.place(base)
	if g.x != nil {
		var ok bool
		if place, ok = g.x.place(place, key); !ok {
			return "", errStartKey
		}
	} else if g.r.p.hasTotal && segmentOf(hashKey(place, hash), g.r.p.total) != g.r.p.segment {
		return "", invalid("The provided starting key is outside query boundaries based on provided conditions")
	}
	if !rng.has(place) {
		return "", invalid("The provided starting key is outside query boundaries based on provided conditions")
	}
	return place, nil
}

// segmentOf divides the hashes of hash keys evenly among the segments.
func segmentOf(hash uint32, total int64) int64 { return int64(hash) * total >> 32 }

// walk goes through a range, from the place after which the page begins.
func (g *page) walk(rng keyRange, after string, backward bool) {
	visit := func(place string, s *stored) bool {
		switch {
		case place == after && after != "":
			return true
		case !rng.has(place):
			// Going backward, the first place may lie right behind the range.
			return backward && rng.hi != "" && place >= rng.hi
		}
		return g.add(s)
	}
	inIndex := func(place, base string) bool {
		s, _ := g.d.items.Get(base)
		return visit(place, s)
	}
	from := after
	if from == "" {
		from = rng.lo
		if backward {
			from = rng.hi
		}
	}
	switch {
	case !backward && g.x == nil:
		g.d.items.Ascend(from, visit)
	case !backward:
		g.x.places.Ascend(from, inIndex)
	case from == "" && g.x == nil:
		g.d.items.Reverse(visit)
	case from == "":
		g.x.places.Reverse(inIndex)
	case g.x == nil:
		g.d.items.Descend(from, visit)
	default:
		g.x.places.Descend(from, inIndex)
	}
}

// add takes an item into the page and reports whether the page goes on.
func (g *page) add(s *stored) bool {
	p := &g.r.p
	if p.hasTotal && segmentOf(s.hash, p.total) != p.segment {
		return true
	}
	if g.scanned > 0 && g.size+s.size > maxPage {
		g.cut = true
		return false
	}
	g.size += s.size
	g.scanned++
	g.last = s
	if item := g.visible(s.attrs); g.r.filter.holds(item) {
		g.count++
		if p.selects != "COUNT" {
			g.items = append(g.items, item)
		}
	}
	if p.hasLimit && int64(g.scanned) >= p.limit {
		g.cut = true
		return false
	}
	return true
}

// visible returns what the page may see of an item.
func (g *page) visible(item []attr) []attr {
	if g.x == nil || g.x.local && (g.r.projection != nil || g.r.p.selects == "ALL_ATTRIBUTES") {
		return item
	}
	return project(item, g.x.paths)
}

func (g *page) response() Response {
	res := &pageResponse{
		items: g.items, projection: g.r.projection, count: g.count, scanned: g.scanned,
		withItems: g.r.p.selects != "COUNT", capacity: g.d.readCapacity(g.r, g.size),
	}
	if g.cut {
		res.last = g.d.schema.of(g.last.attrs)
		if g.x != nil {
			res.last = sortAttrs(append(res.last, g.x.schema.of(g.last.attrs)...))
		}
	}
	return res
}
