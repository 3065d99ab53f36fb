# session.awk - screens of tmux (capture-pane -e), one below the other, as SVG
BEGIN {
    split("#3b4252 #e06c75 #98c379 #e5c07b #61afef #c678dd #56b6c2 #dcdfe4", colour, " ")
    wide = 96; char = 8.43; high = 19; gap = 46
}
FNR == 1 { screens++ }
{
    count[screens]++
    line[screens, FNR] = $0
}

function escape(s) {
    gsub(/&/, "\\&amp;", s)
    gsub(/</, "\\&lt;", s)
    gsub(/>/, "\\&gt;", s)
    gsub(/ /, "\\&#160;", s) # white space is one blank in SVG
    return s
}

# style is the SVG of the SGR state fill, bold, dim.
function style() {
    return (fill ? " fill=\"" fill "\"" : "") (bold ? " font-weight=\"bold\"" : "") (dim ? " opacity=\"0.65\"" : "")
}

# sgr takes the numbers of one escape sequence.
function sgr(codes,   n, i, part, c) {
    n = split(codes, part, ";")
    if (n == 0) { fill = ""; bold = dim = 0 }
    for (i = 1; i <= n; i++) {
        c = part[i] + 0
        if (c == 0) { fill = ""; bold = dim = 0 }
        else if (c == 1) bold = 1
        else if (c == 2) dim = 1
        else if (c == 22) bold = dim = 0
        else if (c == 39) fill = ""
        else if (c >= 30 && c <= 37) fill = colour[c - 29]
        else if (c >= 90 && c <= 97) fill = colour[c - 89]
    }
}

# draw writes one line of a screen at the height y.
function draw(s, y,   text) {
    printf "<text x=\"14\" y=\"%g\">", y
    while (match(s, /\033\[[0-9;]*m/)) {
        text = substr(s, 1, RSTART - 1)
        if (text != "") printf "<tspan%s>%s</tspan>", style(), escape(text)
        sgr(substr(s, RSTART + 2, RLENGTH - 3))
        s = substr(s, RSTART + RLENGTH)
    }
    gsub(/[\016\017]/, "", s)
    if (s != "") printf "<tspan%s>%s</tspan>", style(), escape(s)
    print "</text>"
}

END {
    width = wide * char + 28
    for (i = 1; i <= screens; i++) total += count[i] * high + gap + 8
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\" role=\"img\" aria-labelledby=\"t\"", width, total, width, total
    print " font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"14\" fill=\"#dcdfe4\">"
    print "<title id=\"t\">A terminal: virga build while it works, and at the end</title>"
    for (i = 1; i <= screens; i++) {
        h = count[i] * high + gap - 6
        printf "<rect x=\"1\" y=\"%g\" width=\"%g\" height=\"%g\" rx=\"8\" fill=\"#1e222a\" stroke=\"#3b4252\"/>\n", top + 1, width - 2, h
        for (j = 0; j < 3; j++) printf "<circle cx=\"%d\" cy=\"%g\" r=\"5\" fill=\"%s\"/>\n", 20 + 18 * j, top + 16, colour[2 + (j == 1 ? 2 : j == 2 ? 1 : 0)]
        fill = ""; bold = dim = 0
        for (j = 1; j <= count[i]; j++) draw(line[i, j], top + 28 + high * j - 4)
        top += h + 14
    }
    print "</svg>"
}
